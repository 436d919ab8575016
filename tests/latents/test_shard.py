"""A shard that is damaged is encoded again, and never used."""

import pytest
import torch

from transflow.latents.shard import SHARD
from transflow.store import container

DAMAGE = {
    "zeros": lambda b: b[:-4000] + bytes(4000),
    "one bit": lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:],
    "cut": lambda b: b[:-64],
}


@pytest.mark.parametrize("case", [*DAMAGE, "a tensor missing", "too few latents"])
def test_a_damaged_shard_is_neither_found_nor_used(model, folder, tmp_path, case):
    latents = model.latents(folder, tmp_path / "lat")
    whole = torch.cat([part.latents for part in latents.parts(model)])
    path = latents.folder / "000000.safetensors"
    if case in DAMAGE:
        path.write_bytes(DAMAGE[case](path.read_bytes()))
    else:
        tensors, header = container.read(path, SHARD)
        rows = {name: tensor[:-1] for name, tensor in tensors.items()}
        changed = {} if case == "a tensor missing" else rows
        container.write(path, SHARD.kind, changed, header)
    with pytest.raises(ValueError, match=r"000000\.safetensors"):
        model.condition(tmp_path / "lat")
    found = []
    again = model.latents(folder, tmp_path / "lat", report=lambda count, now: found.append((count, now)))
    assert found == [(12, True)]
    assert torch.equal(torch.cat([part.latents for part in again.parts(model)]), whole)
