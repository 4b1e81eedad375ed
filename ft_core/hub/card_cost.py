"""The cost of a training: time, and an estimate of energy and CO2 with its assumptions.

energy = hours x power of a device x devices; CO2 = energy x carbon intensity of the grid. Power is the board power that
the vendor states: an upper bound of what the device drew. The host, cooling and idle machines are left out.
"""

from dataclasses import dataclass

# watts, by words of the device's name; the first that are all in it count
BOARD_POWER: tuple[tuple[str, float], ...] = (
    ("H200", 700.0),
    ("H100 NVL", 400.0),
    ("H100 PCIe", 350.0),
    ("H100", 700.0),
    ("A100 80GB PCIe", 300.0),
    ("A100 PCIE", 250.0),
    ("A100", 400.0),
    ("V100 PCIE", 250.0),
    ("V100", 300.0),
    ("L40S", 350.0),
    ("L4", 72.0),
    ("T4", 70.0),
    ("RTX 4090", 450.0),
    ("RTX 4080", 320.0),
    ("RTX 3090", 350.0),
    ("RTX 3080", 320.0),
)
WORLD_AVERAGE = 475.0  # g CO2 a kWh of electricity in 2018: IEA, Global Energy & CO2 Status Report 2019
ASSUMED_GRID = f"{WORLD_AVERAGE:g} g CO2eq per kWh (world average, IEA 2019)"


def board_power(name: str | None) -> float | None:
    """Board power in watts of a device by its name, or None if unknown (always for CPUs)."""
    words = (name or "").replace("-", " ").split()
    if {"Ti", "SUPER", "Laptop", "MIG"} & set(words):  # siblings with a power of their own, and parts of a device
        return None
    return next((watts for key, watts in BOARD_POWER if set(key.split()) <= set(words)), None)


@dataclass(frozen=True)
class TrainingCost:
    """Hours of a training on some devices, and what is assumed of them; figures are None where nothing is known.

    Args:
        hours: of training.
        devices: how many worked.
        hardware: what they are, in words.
        power: watts of a device.
        power_source: where that comes from, in words.
        intensity: grams of CO2 equivalent a kWh.
        intensity_source: where that comes from, in words.
    """

    hours: float
    devices: int
    hardware: str
    power: float | None
    power_source: str
    intensity: float
    intensity_source: str

    @property
    def energy(self) -> float | None:
        """kWh."""
        return None if self.power is None else self.hours * self.power * self.devices / 1000

    @property
    def emissions(self) -> float | None:
        """Grams of CO2 equivalent."""
        return None if self.energy is None else self.energy * self.intensity

    def rows(self) -> dict[str, str]:
        """Names and values for a card."""
        rows = {"training time": f"{_hours(self.hours)} on {self.devices} x {self.hardware}"}
        if self.energy is None or self.emissions is None:
            rows["energy and CO2"] = (
                "not estimated: the power of the device is not known (`push --power WATTS` sets it)"
            )
            return rows
        rows["energy, estimated"] = (
            f"{_rounded(self.energy)} kWh: {_hours(self.hours)} x {self.power:g} W ({self.power_source}) "
            f"x {self.devices}; host and cooling excluded"
        )
        rows["CO2, estimated"] = f"{_mass(self.emissions)} CO2eq at {self.intensity_source}"
        return rows

    def metadata(self, training_type: str) -> dict[str, object] | None:
        """The Hub's `co2_eq_emissions`, or None where nothing can be estimated."""
        if self.emissions is None:
            return None
        return {
            "emissions": float(f"{self.emissions:.4g}"),
            "source": f"training time x {self.power:g} W ({self.power_source}) x {self.intensity_source}",
            "training_type": training_type,
            "hardware_used": f"{self.devices} x {self.hardware}",
        }


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _mass(grams: float) -> str:
    for size, unit in ((1e6, "t"), (1e3, "kg")):
        if grams >= size:
            return f"{_rounded(grams / size)} {unit}"
    return f"{_rounded(grams)} g"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:.2g} min"


def training_cost(record: dict, power: float | None = None, intensity: float | None = None) -> TrainingCost | None:
    """The cost of a recorded run, or None where its record holds no time.

    Args:
        record (`dict`): content of `run.json`.
        power (`float`, *optional*): measured or known watts of a device, instead of its board power.
        intensity (`float`, *optional*): grams of CO2 equivalent a kWh, instead of the world's average.

    Raises:
        ValueError: a power or intensity that is not positive.
    """
    for name, value in (("power", power), ("carbon_intensity", intensity)):
        if value is not None and not 0 < value < 1e6:
            raise ValueError(f"{name}={value:g} is out of range; pass a positive number")
    seconds, hardware = record.get("seconds"), record.get("hardware") or {}
    if not isinstance(seconds, int | float) or not seconds > 0 or not isinstance(hardware, dict):
        return None
    name = hardware.get("name")
    threads = f" ({hardware.get('threads')} threads)" if hardware.get("threads") else ""
    return TrainingCost(
        hours=seconds / 3600,
        devices=int(record.get("world_size") or 1),
        hardware=str(name)
        if name
        else f"{hardware.get('machine', 'unknown')} {hardware.get('device', 'device')}{threads}",
        power=board_power(name) if power is None else power,
        power_source="its board power" if power is None else "as stated at the push",
        intensity=WORLD_AVERAGE if intensity is None else intensity,
        intensity_source=ASSUMED_GRID if intensity is None else f"{intensity:g} g CO2eq per kWh, as stated at the push",
    )
