"""What only a GPU does: flash attention over packs, bfloat16, shards over NCCL, four bits."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from limalib.training import distributed, models
from limalib.training.loss import summed_loss
from limalib.training.packing import pack, packed_attention
from limalib.training.rendering import Rendered
from limalib.training.sampling import generate
from limalib.training.settings import LoRA, SamplingSettings
from tests.test_training import given_up, run, same, settings, weights
from tests.tiny import byte_tokenizer, dialogues, family, llama

GPU = torch.device("cuda")
NONE = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU with CUDA here")
pytestmark = [pytest.mark.cuda, NONE]

EXAMPLES = [
    Rendered([0, *ids], [False] + [True] * len(ids))
    for ids in ([5, 6, 7], [9] * 40, [4, 3, 2, 8, 8])
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    models.save(family("llama"), byte_tokenizer(), tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize("heads", [2, 1], ids=["each its own keys", "shared keys"])
def test_flash_attention_keeps_examples_of_a_pack_apart(heads: int) -> None:
    model = llama(num_key_value_heads=heads).to(GPU, torch.bfloat16)
    alone = 0.0
    with torch.no_grad():
        for example in EXAMPLES:
            ids = torch.tensor([example.ids], device=GPU)
            logits = model(ids).logits[0].float().log_softmax(-1)
            alone -= logits[:-1].gather(1, ids[0, 1:, None]).sum().item()
        with packed_attention(model):
            packed = summed_loss(model, pack(EXAMPLES)).item()
    assert packed == pytest.approx(alone, rel=0.01)


def test_an_interrupted_run_in_bfloat16_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole: dict[str, Any] = {"precision": "bf16", "optimizer": "adamw"}
    log = run(tmp_path / "whole", model=llama().to(GPU), **whole)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", model=llama().to(GPU), watch=given_up(7), **whole)
    again = run(tmp_path / "cut", model=llama().to(GPU), **whole)
    assert again.loss_by_step() == log.loss_by_step()
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_shards_of_one_process_train_as_the_whole_model(base: Path, tmp_path: Path) -> None:
    chosen, data = settings(residual_dropout=0.0), dialogues(14)
    alone = distributed.train(str(base), data, chosen, tmp_path / "alone", progress=False)
    torchrun = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 1"
    sharded = distributed.train(
        str(base), data, chosen, tmp_path / "shards", launcher=torchrun, progress=False
    )
    losses = [[*log.loss_by_step().values()] for log in (alone, sharded)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_adapters_over_four_bits_learn(base: Path, tmp_path: Path) -> None:
    kind: dict[str, Any] = {
        "lora": LoRA(rank=4, alpha=8),
        "quantization": "4bit",
        "precision": "bf16",
    }
    chosen = settings(**kind, learning_rate=1e-2)
    log = distributed.train(str(base), dialogues(14), chosen, tmp_path / "out", progress=False)
    first, *_, last = log.loss_by_step().values()
    assert last < first


def test_greedy_answers_are_those_of_the_processor() -> None:
    prompts, plainly = [[0, 5, 6], [0, 9]], SamplingSettings(temperature=0, max_new_tokens=8)
    here, there = (generate(llama().to(on), prompts, 1, plainly) for on in ("cpu", GPU))
    assert here == there
