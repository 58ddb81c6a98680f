"""What Axolotl refuses of data sets, templates, packing and streaming."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule


@rule("QL401", "error", upstream="DatasetValidationMixin.check_dataset_or_pretraining_dataset")
def no_data(c: AxolotlConfig) -> Iterator[Hit]:
    """Neither `datasets` nor `pretraining_dataset`.

    There is nothing to train on; Axolotl refuses the file.
    """
    if not c.has("datasets") and not c.has("pretraining_dataset"):
        yield c.key((), "there is no training data", "datasets: [{path: data.jsonl, type: chat_template}]")


@rule("QL402", "error", upstream="DatasetValidationMixin.deprecate_sharegpt_datasets")
def sharegpt_type(c: AxolotlConfig) -> Iterator[Hit]:
    """`type: sharegpt`.

    Axolotl refuses it; the same rows are read by `type: chat_template` with the names of their columns.
    """
    for index, data_set in c.datasets():
        if isinstance(data_set.get("type"), str) and data_set["type"].startswith("sharegpt"):
            hint = (
                "type: chat_template, field_messages: conversations, "
                "message_property_mappings: {role: from, content: value}"
            )
            yield c.at(("datasets", index, "type"), f"type: {data_set['type']} has been removed", hint)


@rule("QL403", "error", upstream="DatasetValidationMixin.check_val_w_test_datasets")
def two_eval_sets(c: AxolotlConfig) -> Iterator[Hit]:
    """`val_set_size` beside `test_datasets`.

    Axolotl refuses two evaluation sets.
    """
    if c.get("test_datasets") and c.get("val_set_size"):
        yield c.key("val_set_size", "val_set_size beside test_datasets", "keep one of the two")


@rule("QL404", "error", upstream="ChatTemplateValidationMixin.check_chat_template_config")
def jinja_without_template(c: AxolotlConfig) -> Iterator[Hit]:
    """`chat_template: jinja` without `chat_template_jinja`.

    Axolotl refuses it: the template is missing.
    """
    if c.get("chat_template") == "jinja" and not c.get("chat_template_jinja"):
        yield c.at("chat_template", "chat_template: jinja needs chat_template_jinja", "the template, or its file")


@rule("QL405", "error", upstream="SFTDataset.check_chat_template_config")
def data_set_jinja_without_template(c: AxolotlConfig) -> Iterator[Hit]:
    """`chat_template: jinja` without `chat_template_jinja`, on a data set.

    A data set's own `chat_template` is read together with its own `chat_template_jinja`, never the config's.
    """
    for key in ("datasets", "test_datasets"):
        for index, data_set in c.datasets(key):
            if data_set.get("chat_template") == "jinja" and not data_set.get("chat_template_jinja"):
                yield c.at((key, index, "chat_template"), "chat_template: jinja needs chat_template_jinja beside it")


@rule("QL406", "error", upstream="DatasetValidationMixin.check_eval_packing")
def eval_table_with_packing(c: AxolotlConfig) -> Iterator[Hit]:
    """`eval_table_size` with packed evaluation.

    Axolotl refuses it.
    """
    if c.get("sample_packing") and c.get("eval_table_size") and c.get("eval_sample_packing") is not False:
        yield c.key("eval_table_size", "eval_table_size with sample_packing", "eval_sample_packing: false")


@rule("QL407", "error", upstream="DatasetValidationMixin.check_push_ds_auth")
def push_without_token(c: AxolotlConfig) -> Iterator[Hit]:
    """`push_dataset_to_hub` without `hf_use_auth_token: true`.

    Axolotl refuses to push without a token.
    """
    if c.get("push_dataset_to_hub") and c.get("hf_use_auth_token") is not True:
        yield c.key("push_dataset_to_hub", "push_dataset_to_hub needs hf_use_auth_token: true")


@rule("QL408", "error", upstream="TrainingValidationMixin.check_causal_lm_evals")
def causal_eval_packed(c: AxolotlConfig) -> Iterator[Hit]:
    """`do_causal_lm_eval` with packed evaluation.

    It generates from single rows; Axolotl refuses packed ones.
    """
    packed = c.get("eval_sample_packing")
    inherited = packed is None and c.get("sample_packing") and not c.get("eval_table_size")
    if c.get("do_causal_lm_eval") and (packed or inherited):
        yield c.key("do_causal_lm_eval", "do_causal_lm_eval with packed evaluation", "eval_sample_packing: false")


STREAMS = ("streaming", "pretraining_dataset")


@rule(
    "QL409",
    "error",
    upstream=(
        "PretrainingValidationMixin.check_pretraining_w_max_steps",
        "PretrainingValidationMixin.check_streaming_w_max_steps",
    ),
)
def stream_without_steps(c: AxolotlConfig) -> Iterator[Hit]:
    """Streamed data without `max_steps`.

    A stream has no length to plan the schedule by; Axolotl refuses it.
    """
    for key in c.any_of(*STREAMS) if not c.get("max_steps") else ():
        yield c.key(key, f"{key} needs max_steps", "add max_steps: 1000")


@rule(
    "QL410",
    "error",
    upstream=(
        "PretrainingValidationMixin.check_pretraining_w_val_set_size",
        "PretrainingValidationMixin.check_streaming_w_val_set_size",
    ),
)
def stream_with_split(c: AxolotlConfig) -> Iterator[Hit]:
    """`val_set_size` on streamed data.

    A stream cannot be split; Axolotl refuses it.
    """
    for key in c.any_of(*STREAMS) if c.get("val_set_size") else ():
        yield c.key("val_set_size", f"val_set_size with {key}", "test_datasets")


@rule("QL411", "error", upstream="PretrainingValidationMixin.check_streaming_w_multiple_datasets")
def streams_packed(c: AxolotlConfig) -> Iterator[Hit]:
    """Packing over several streams.

    Axolotl cannot do it.
    """
    if c.get("streaming") and c.get("sample_packing") and len(list(c.get("datasets") or ())) > 1:
        yield c.key("sample_packing", "sample_packing over several streamed data sets", "one data set")


@rule(
    "QL412",
    "error",
    upstream=(
        "AxolotlConfigWCapabilities.check_deduplication_with_streaming",
        "AxolotlConfigWCapabilities.check_deduplication_with_skip_prepare",
    ),
)
def deduplication(c: AxolotlConfig) -> Iterator[Hit]:
    """`dataset_exact_deduplication` where rows are not prepared.

    Duplicates are found while the rows are prepared; Axolotl refuses it for streams and `skip_prepare_dataset`.
    """
    for key in c.any_of(*STREAMS, "skip_prepare_dataset") if c.get("dataset_exact_deduplication") else ():
        yield c.key("dataset_exact_deduplication", f"dataset_exact_deduplication with {key}", "remove one of the two")


@rule("QL413", "error", upstream="TrainingValidationMixin.pretrain_with_tps")
def tokens_per_second_of_stream(c: AxolotlConfig) -> Iterator[Hit]:
    """`include_tokens_per_second` with `pretraining_dataset`.

    The tokens of a stream cannot be counted in advance; Axolotl refuses it.
    """
    if c.get("pretraining_dataset") and c.get("include_tokens_per_second"):
        yield c.key("include_tokens_per_second", "include_tokens_per_second with pretraining_dataset", "remove it")
