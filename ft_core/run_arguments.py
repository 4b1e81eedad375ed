"""Settings that every run has: what happens with what lies in its folder, and with faults."""

from dataclasses import dataclass, field

SAVE_ERRORS = ("stop", "continue")


@dataclass
class RunArguments:
    """Fields that this library's training settings share, beside those of [`~transformers.TrainingArguments`]."""

    resume: bool = field(default=False, metadata={"help": "Go on from the newest whole checkpoint of output_dir."})
    overwrite: bool = field(default=False, metadata={"help": "Replace the run in output_dir."})
    resume_force: bool = field(
        default=False,
        metadata={"help": "Resume with other settings, data or number of processes too; says what is kept."},
    )
    overwrite_lock: bool = field(
        default=False, metadata={"help": "Take output_dir although another process seems to use it."}
    )
    on_save_error: str = field(
        default="stop", metadata={"help": "When a checkpoint cannot be written: stop, or continue without it."}
    )
    max_bad_steps: int = field(
        default=3,
        metadata={"help": "Stop after so many steps in a row whose loss or gradient was not finite; none is applied."},
    )
    expected_world_size: int | None = field(
        default=None, metadata={"help": "Number of processes that must take part; checked before training."}
    )

    def check_run_arguments(self) -> None:
        """Raises ValueError for values that cannot be meant."""
        if self.on_save_error not in SAVE_ERRORS:
            raise ValueError(f"on_save_error={self.on_save_error!r} is not known; use one of {', '.join(SAVE_ERRORS)}")
        if self.max_bad_steps < 1:
            raise ValueError(f"max_bad_steps={self.max_bad_steps} is below 1; use 1 to stop at the first bad step")
        if self.push_to_hub:  # the Trainer would push checkpoints, with a pickle and this machine's paths
            raise ValueError(
                "push_to_hub=True is not supported: push the finished run in one commit, with kronos-ft push RUN "
                "OWNER/NAME or mt5-ft push"
            )
        if self.resume_force:
            self.resume = True
        if self.resume and self.overwrite:
            raise ValueError("--resume and --overwrite exclude each other; choose one")
