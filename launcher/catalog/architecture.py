"""What a model's numbers say about its tensors: the linear layers, and the exact count of weights.

The shapes are those of its family (presets/families); `tests/test_catalog.py` holds the counts against those of the
published checkpoints, `tests/catalog/test_families.py` against the classes of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from launcher.catalog.families import LayerKind, count_weights, described, length
from launcher.catalog.types import Model


@dataclass(frozen=True)
class Linear:
    """One linear layer of a decoder layer: ``weight`` is [out_features, in_features]."""

    name: str
    in_features: int
    out_features: int
    bias: bool = False
    block: str = ""  # the part of the layer that it is in

    @property
    def parameters(self) -> int:
        """Elements of the weight, without the bias."""
        return self.in_features * self.out_features


@lru_cache(maxsize=256)  # the solver asks for the same model hundreds of times
def linear_layers(model: Model) -> tuple[Linear, ...]:
    """The `torch.nn.Linear` layers of one decoder layer, which quantisation and LoRA can reach.

    The experts of a Mixture-of-Experts are not among them: transformers 5 keeps all experts of a layer in one
    three-dimensional parameter, which is no `Linear` (see `expert_parameters`); nor is the router.
    """
    values = config_values(model)
    return tuple(
        Linear(
            linear.name.rpartition(".")[2],
            length(linear.in_features, values),
            length(linear.out_features, values),
            linear.has_bias(values),
            linear.name.rpartition(".")[0],
        )
        for linear in _layer(model).linears
    )


# Keys of a config.json, and where a `Model` has them: what a launched family's file may name.
CONFIG_KEYS = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocab_size": "vocab_size",
    "attention_bias": "attention_bias",
    "tie_word_embeddings": "tie_word_embeddings",
    "num_local_experts": "num_experts",
    "num_experts_per_tok": "num_experts_per_token",
}


def config_values(model: Model) -> dict[str, object]:
    """A model's numbers by the keys that its config.json has for them."""
    return {key: getattr(model, name) for key, name in CONFIG_KEYS.items()}


def _layer(model: Model) -> LayerKind:
    """The one kind of layer that the families have which are launched today."""
    return described(model.model_type).layers[0]


def norms_queries_and_keys(model: Model) -> bool:
    """Whether attention normalises them, head by head."""
    return bool(_layer(model).qk_norm)


@lru_cache(maxsize=256)
def module_names(model: Model) -> frozenset[str]:
    """What reaches a layer as PEFT matches names: each end of the path of a linear layer, the embedding or the head."""
    layers = range(model.num_layers)
    linears = linear_layers(model)
    paths = [f"model.layers.{layer}.{linear.block}.{linear.name}" for linear in linears for layer in layers]
    steps = (path.split(".") for path in (*paths, "model.embed_tokens", "lm_head"))
    return frozenset(".".join(parts[start:]) for parts in steps for start in range(len(parts)))


@lru_cache(maxsize=256)
def linear_parameters(model: Model) -> int:
    """Weights of all linear layers of all decoder layers, without biases: what NF4 quantises."""
    return model.num_layers * sum(linear.parameters for linear in linear_layers(model))


@lru_cache(maxsize=256)
def expert_parameters(model: Model) -> int:
    """Weights of all experts of all layers: gate, up and down of each."""
    experts = _layer(model).experts
    return model.num_layers * experts.matrices(config_values(model)) if experts else 0


def embedding_parameters(model: Model) -> int:
    """Weights of the input embedding, and of the output head where it is a tensor of its own."""
    return model.vocab_size * model.hidden_size * (1 if model.tie_word_embeddings else 2)


def vector_parameters(model: Model) -> int:
    """Everything that is neither a linear layer, an expert nor an embedding: norms, biases, routers."""
    return count_parameters(model) - linear_parameters(model) - expert_parameters(model) - embedding_parameters(model)


@lru_cache(maxsize=256)
def count_parameters(model: Model) -> int:
    """All weights of the model, shared ones once: the sum of its checkpoint's tensor sizes."""
    return count_weights(described(model.model_type), config_values(model))


@lru_cache(maxsize=256)
def lora_parameters(model: Model, rank: int, targets: tuple[str, ...]) -> int:
    """Weights of a LoRA adapter: ``rank * (in + out)`` for each targeted linear layer (Hu et al. 2021)."""
    reached = (linear for linear in linear_layers(model) if linear.name in targets)
    return model.num_layers * sum(rank * (linear.in_features + linear.out_features) for linear in reached)
