"""What a model's numbers say about its tensors: the linear layers, and the exact count of weights.

Source of the shapes: the modelling code of transformers 5.16 for each ``model_type``; `tests/test_catalog.py` holds the
counts against those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from launcher.catalog.types import Model

# Norm vectors of length hidden_size in one decoder layer; Gemma 2 and 3 also normalise what each block returns.
NORMS_PER_LAYER = {
    "llama": 2,
    "mistral": 2,
    "mixtral": 2,
    "qwen2": 2,
    "qwen3": 2,
    "gemma": 2,
    "gemma2": 4,
    "gemma3_text": 4,
    "phi3": 2,
}
# Families that normalise queries and keys per head: two more vectors of length head_dim in each layer.
QK_NORM = frozenset({"qwen3", "gemma3_text"})
# Where attention_bias is set, Qwen2 has a bias on q, k and v but none on o; the others have all four.
BIAS_WITHOUT_O = frozenset({"qwen2"})
# One fused projection instead of q, k, v and one instead of gate, up.
FUSED_LINEARS = {"phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")}
ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj"})  # the other linear layers are the MLP's
SUPPORTED: tuple[str, ...] = tuple(NORMS_PER_LAYER)


@dataclass(frozen=True)
class Linear:
    """One linear layer of a decoder layer: ``weight`` is [out_features, in_features]."""

    name: str
    in_features: int
    out_features: int
    bias: bool = False

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
    hidden = model.hidden_size
    queries = model.num_attention_heads * model.head_dim
    keys = model.num_key_value_heads * model.head_dim
    bias = model.attention_bias
    bias_o = bias and model.model_type not in BIAS_WITHOUT_O
    if model.model_type in FUSED_LINEARS:
        return (
            Linear("qkv_proj", hidden, queries + 2 * keys),
            Linear("o_proj", queries, hidden),
            Linear("gate_up_proj", hidden, 2 * model.intermediate_size),
            Linear("down_proj", model.intermediate_size, hidden),
        )
    attention = (
        Linear("q_proj", hidden, queries, bias),
        Linear("k_proj", hidden, keys, bias),
        Linear("v_proj", hidden, keys, bias),
        Linear("o_proj", queries, hidden, bias_o),
    )
    if model.num_experts:
        return attention
    return (
        *attention,
        Linear("gate_proj", hidden, model.intermediate_size),
        Linear("up_proj", hidden, model.intermediate_size),
        Linear("down_proj", model.intermediate_size, hidden),
    )


@lru_cache(maxsize=256)
def module_names(model: Model) -> frozenset[str]:
    """What reaches a layer as PEFT matches names: each end of the path of a linear layer, the embedding or the head."""
    blocks = {linear.name: "self_attn" if linear.name in ATTENTION else "mlp" for linear in linear_layers(model)}
    layers = range(model.num_layers)
    paths = [f"model.layers.{layer}.{block}.{name}" for name, block in blocks.items() for layer in layers]
    steps = (path.split(".") for path in (*paths, "model.embed_tokens", "lm_head"))
    return frozenset(".".join(parts[start:]) for parts in steps for start in range(len(parts)))


@lru_cache(maxsize=256)
def linear_parameters(model: Model) -> int:
    """Weights of all linear layers of all decoder layers, without biases: what NF4 quantises."""
    return model.num_layers * sum(linear.parameters for linear in linear_layers(model))


def expert_parameters(model: Model) -> int:
    """Weights of all experts of all layers: gate, up and down of each."""
    return model.num_layers * model.num_experts * 3 * model.hidden_size * model.intermediate_size


def embedding_parameters(model: Model) -> int:
    """Weights of the input embedding, and of the output head where it is a tensor of its own."""
    return model.vocab_size * model.hidden_size * (1 if model.tie_word_embeddings else 2)


@lru_cache(maxsize=256)
def vector_parameters(model: Model) -> int:
    """Everything that is neither a linear layer, an expert nor an embedding: norms, biases, routers."""
    biases = sum(linear.out_features for linear in linear_layers(model) if linear.bias)
    norms = NORMS_PER_LAYER[model.model_type] * model.hidden_size
    if model.model_type in QK_NORM:
        norms += 2 * model.head_dim
    router = model.num_experts * model.hidden_size
    return model.num_layers * (biases + norms + router) + model.hidden_size


def count_parameters(model: Model) -> int:
    """All weights of the model, shared ones once: the sum of its checkpoint's tensor sizes."""
    return linear_parameters(model) + expert_parameters(model) + embedding_parameters(model) + vector_parameters(model)


@lru_cache(maxsize=256)
def lora_parameters(model: Model, rank: int, targets: tuple[str, ...]) -> int:
    """Weights of a LoRA adapter: ``rank * (in + out)`` for each targeted linear layer (Hu et al. 2021)."""
    reached = (linear for linear in linear_layers(model) if linear.name in targets)
    return model.num_layers * sum(rank * (linear.in_features + linear.out_features) for linear in reached)
