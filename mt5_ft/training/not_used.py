"""Settings of transformers that have no effect in the trainer of mT5, and what to set instead."""

from ft_core.training.stock.no_effect import NoEffect

# in addition to those without effect in every trainer
NOT_USED_HERE: NoEffect = {
    "label_smoothing_factor": ((0, 0.0), "the loss is plain cross-entropy; leave it at 0"),
    "average_tokens_across_devices": ((True,), "the loss is the mean over the tokens of all processes; leave it on"),
    "predict_with_generate": ((False,), "set eval_generate_rows to the number of records to summarise"),
    "auto_find_batch_size": (
        (False,),
        "the batch is halved automatically when memory runs out, with the same effective batch",
    ),
    "generation_config": ((None,), "set generation_max_length and generation_num_beams"),
    "sortish_sampler": ((False,), "set train_sampling_strategy to group_by_length"),
    "train_sampling_strategy": (
        ("group_by_length", "random", "sequential"),
        "set it to group_by_length, random or sequential",
    ),
}
