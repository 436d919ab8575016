"""What is loaded is in the precision that was asked for, or that a posterior was made in."""

import pytest
import torch

from foreign_checkpoints import uva_weights
from transflow import load, load_posterior


def test_a_posterior_is_opened_in_the_precision_it_was_made_in(model_file, pixels, tmp_path):
    rounded = load(model_file, dtype=torch.bfloat16)
    assert rounded.fingerprint == load(model_file).fingerprint
    assert rounded.encode(pixels).dtype == torch.float32
    rounded.condition(pixels).save(tmp_path / "p.safetensors")
    again = load_posterior(tmp_path / "p.safetensors")
    assert again.model.precision == "bfloat16"
    left = again.remove(pixels[:6]).evidence
    expected = rounded.condition(pixels[6:]).evidence
    torch.testing.assert_close(left.total, expected.total, rtol=0, atol=1e-3)
    other = load_posterior(tmp_path / "p.safetensors", load(model_file))
    assert other.model.precision == "float32"
    assert torch.equal(other.evidence.total, again.evidence.total)


def test_other_dtypes_are_refused(model_file):
    with pytest.raises(ValueError, match="Expected dtype float32, bfloat16 or float64; got"):
        load(model_file, dtype=torch.float16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_so_is_one_of_somebody_elses_checkpoint(tmp_path, dtype):
    torch.save(uva_weights(multiscale=False), tmp_path / "flow.ckpt")
    model = load(f"checkpoint:{tmp_path}/flow.ckpt", dtype=dtype)
    model.condition(torch.zeros(1, *model.shape, dtype=torch.uint8)).save(tmp_path / "p.safetensors")
    assert load_posterior(tmp_path / "p.safetensors").model.precision == str(dtype).removeprefix("torch.")
    assert load_posterior(tmp_path / "p.safetensors", dtype=torch.float64).model.precision == "float64"
