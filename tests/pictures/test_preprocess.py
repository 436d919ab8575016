"""One rule fits any picture to a model; files are read as what they are, and bad ones are named."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from transflow.pictures import decode as data
from transflow.pictures import sources as listing
from transflow.pictures.files import BadPicture
from transflow.pictures.preprocess import greyscale, preprocess, preprocess_one

RED = (200, 30, 40)


def picture(mode="RGB", size=(40, 40), colour=None):
    colours = {"RGB": RED, "RGBA": (*RED, 255), "L": 90, "LA": (90, 255), "CMYK": (0, 200, 200, 40), "1": 1, "P": 3}
    return Image.new(mode, size, colours[mode] if colour is None else colour)


def pixels_of(p, channels=3, size=32):
    return preprocess([p], (channels, size, size))[0]


@pytest.mark.parametrize("size", [(1, 1), (8, 4), (3, 16), (28, 20), (33, 33), (100, 40), (40, 100), (64, 32)])
@pytest.mark.parametrize("shape", [(3, 16, 32), (1, 32, 16), (3, 20, 20)])
def test_height_and_width_both_count(size, shape):
    assert preprocess([picture(size=size)], shape).shape == (1, *shape)


def test_a_picture_of_the_models_proportions_keeps_all_of_itself():
    x = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    expected = x.reshape(16, 2, 32, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(preprocess(x, (3, 16, 32))[0].numpy() - expected).max() <= 1


def test_a_picture_of_others_is_cropped_to_its_largest_central_part():
    x = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    x[:, 16:48] = 255  # the central half in height
    assert (preprocess(x, (3, 16, 32)) == 255).all()
    assert (preprocess(x.transpose(0, 2, 1, 3), (3, 32, 16)) == 255).all()


def test_a_model_of_other_channels_takes_its_own_shape_alone():
    x = torch.randint(0, 256, (2, 5, 6, 7), dtype=torch.uint8)
    assert torch.equal(preprocess(x, (5, 6, 7)), x)
    assert torch.equal(preprocess(x.permute(0, 2, 3, 1).numpy(), (5, 6, 7)), x)
    for bad in (x[:, :, :5], x[:, :3], [picture()]):
        with pytest.raises(ValueError, match=r"Expected a uint8 tensor \(B, 5, 6, 7\)|C of 1, 3 or 4"):
            preprocess(bad, (5, 6, 7))


def test_small_grey_is_padded_with_black_and_repeated():
    digits = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
    fitted = preprocess(digits, (3, 32, 32))
    expected = np.pad(digits, ((0, 0), (2, 2), (2, 2)))[:, None].repeat(3, 1)
    assert np.array_equal(fitted.numpy(), expected)


def test_pictures_of_the_right_size_are_left_alone_in_every_form():
    x = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    last = x.permute(0, 2, 3, 1).numpy()
    for form in (x, last, [Image.fromarray(p) for p in last]):
        assert torch.equal(preprocess(form, (3, 32, 32)), x)


def test_larger_pictures_are_averaged_over_areas():
    x = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    expected = x.reshape(32, 2, 32, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(preprocess(x, (3, 32, 32))[0].numpy() - expected).max() <= 1


def test_stripes_finer_than_the_model_become_grey_not_moire():
    stripes = np.zeros((1, 256, 256), dtype=np.uint8)
    stripes[:, :, ::2] = 255
    fitted = preprocess(stripes, (3, 32, 32))
    assert fitted.min() >= 126
    assert fitted.max() <= 129


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (3, 16), (28, 20), (33, 33), (100, 40), (40, 100), (31, 32), (1, 500)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_fits(size, channels):
    assert pixels_of(picture(size=size), channels).shape == (channels, 32, 32)


def test_a_wide_picture_keeps_its_centre():
    wide = Image.new("RGB", (96, 32), "white")
    wide.paste(RED, (32, 0, 64, 32))
    assert torch.equal(pixels_of(wide), torch.tensor(RED, dtype=torch.uint8)[:, None, None].expand(3, 32, 32))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "CMYK", "1", "P"])
def test_modes_are_understood(mode):
    fitted = pixels_of(picture(mode))
    assert fitted.shape == (3, 32, 32)
    if mode in ("RGB", "RGBA"):
        assert fitted[:, 5, 5].tolist() == list(RED)
    if mode in ("L", "LA"):
        assert fitted[:, 5, 5].tolist() == [90, 90, 90]


def test_transparency_lies_over_white():
    assert pixels_of(picture("RGBA", colour=(*RED, 0)))[:, 3, 3].tolist() == [255, 255, 255]
    palette = picture("P", colour=0)
    palette.info["transparency"] = 0
    assert pixels_of(palette)[:, 3, 3].tolist() == [255, 255, 255]


def test_sixteen_bits_keep_the_upper_eight():
    deep = Image.fromarray(np.full((32, 32), 0xABCD, dtype=np.uint16))
    assert pixels_of(deep)[0, 0, 0] == 0xAB


def test_grey_of_a_colour_is_its_luma():
    assert abs(int(pixels_of(picture(), channels=1)[0, 0, 0]) - (0.299 * 200 + 0.587 * 30 + 0.114 * 40)) <= 1


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 28, 28)),
        np.full((2, 28, 28), np.nan),
        np.zeros((28, 28), dtype=np.uint8),
        np.zeros((2, 28, 28, 5), dtype=np.uint8),
        np.zeros((2, 0, 28), dtype=np.uint8),
        np.zeros((2, 8, 8), dtype=int),
        torch.zeros(2, 3, 32, 32),
        torch.zeros(3, 32, 32, dtype=torch.uint8),
        torch.zeros(2, 32, 32, 3, dtype=torch.uint8),
        [np.zeros((4, 4))],
        5,
        None,
        {"a": 1},
    ],
)
def test_what_is_no_picture_is_told(bad):
    with pytest.raises((TypeError, ValueError), match="Expected"):
        preprocess(bad, (3, 32, 32))


def save(p, path, **options):
    p.save(path, **options)
    return path


def test_folder_tar_and_files_are_the_same_pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    files = [save(picture(colour=(i, 0, 0)), folder / name) for i, name in enumerate(["a.png", "b.png", "sub/c.png"])]
    (folder / ".hidden").write_text("x")
    (folder / "Thumbs.db").write_text("x")
    with tarfile.open(tmp_path / "p.tar.gz", "w:gz") as tar:
        for file in files:
            tar.add(file, file.name)
    by_folder = data.read(folder, (3, 32, 32))
    assert torch.equal(by_folder.pixels, data.read(files, (3, 32, 32)).pixels)
    assert torch.equal(by_folder.pixels, data.read(tmp_path / "p.tar.gz", (3, 32, 32)).pixels)
    assert by_folder.names == tuple(map(str, files))
    assert by_folder.pixels[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_exif_rotation_and_first_frame(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    tall = Image.new("RGB", (32, 32), "black")
    tall.paste("white", (0, 0, 16, 32))
    save(tall, tmp_path / "r.png", exif=exif)
    fitted = data.read(tmp_path / "r.png", (3, 32, 32)).pixels[0, 0]
    assert fitted[:16].min() == 255
    assert fitted[16:].max() == 0
    frames = [picture("L", colour=c) for c in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert data.read(tmp_path / "a.gif", (3, 32, 32)).pixels[0, 0, 0, 0] == 10


def bad_files(folder):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return {
        "empty.png": b"",
        "notes.txt": b"hello",
        "cut.jpg": buffer.getvalue()[:700],
        "cut.png": b"\x89PNG\r\n\x1a\n" + bytes(30),
        "head.jpg": buffer.getvalue()[:20],
    }


@pytest.mark.parametrize("name", ["empty.png", "notes.txt", "cut.jpg", "cut.png", "head.jpg"])
def test_a_bad_file_is_named_and_can_be_skipped(tmp_path, name):
    save(picture(), tmp_path / "good.png")
    (tmp_path / name).write_bytes(bad_files(tmp_path)[name])
    with pytest.raises(BadPicture, match=name):
        data.read(tmp_path, (3, 32, 32))
    bad = []
    read = data.read(tmp_path, (3, 32, 32), on_bad=bad.append)
    assert len(read.pixels) == 1
    assert len(bad) == 1
    assert name in bad[0]


def test_damaged_exif_leaves_the_picture_as_it_is(tmp_path):
    """Pillow reads the picture, and fails only when it is to be turned upright: that is all that EXIF is wanted for."""
    picture().save(tmp_path / "turned.png", exif=b"neither of the two orders of bytes")
    save(picture(), tmp_path / "whole.png")
    read = data.read(tmp_path, (3, 32, 32))
    assert read.names == (str(tmp_path / "turned.png"), str(tmp_path / "whole.png"))
    assert torch.equal(read.pixels[0], read.pixels[1])


def test_a_file_that_cannot_be_read_is_named_and_can_be_skipped(tmp_path):
    save(picture(), tmp_path / "good.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(BadPicture, match=r"cannot be read.*lost\.png"):
        data.read(tmp_path, (3, 32, 32))
    bad = []
    assert len(data.read(tmp_path, (3, 32, 32), on_bad=bad.append).names) == 1
    assert list(data.digests(listing.files(tmp_path)))[1] == ""


def test_linked_folders_are_read_and_loops_are_not_followed(tmp_path):
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    elsewhere.mkdir()
    here.mkdir()
    save(picture(), elsewhere / "a.png")
    (here / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(here)
    assert data.read(here, (3, 32, 32)).names == (str(here / "link" / "a.png"),)


def test_a_folder_is_read_once_whatever_links_lead_there(tmp_path):
    for name in ("real", "also", "here"):
        (tmp_path / name).mkdir()
    save(picture(), tmp_path / "real" / "a.png")
    (tmp_path / "latest").symlink_to(tmp_path / "real")
    (tmp_path / "self").symlink_to(tmp_path)
    assert data.read(tmp_path, (3, 32, 32)).names == (str(tmp_path / "real" / "a.png"),)
    for link in ("one", "two"):
        (tmp_path / "here" / link).symlink_to(tmp_path / "real")
    assert data.read(tmp_path / "here", (3, 32, 32)).names == (str(tmp_path / "here" / "one" / "a.png"),)


def test_an_output_is_apart_from_pictures_and_what_links_lead_to(tmp_path):
    here, linked = tmp_path / "here", tmp_path / "linked"
    for folder in (here, linked):
        folder.mkdir()
    save(picture(), tmp_path / "alone.png")
    (here / "link").symlink_to(linked)
    (here / "b.png").symlink_to(tmp_path / "alone.png")
    for inside in (here / "x.png", here / "new" / "x.png", linked / "x.png", tmp_path / "alone.png", here):
        with pytest.raises(ValueError, match="apart from what is read"):
            listing.check_apart(inside, [here])
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for outside in (tmp_path / "x.png", tmp_path / "here.png", tmp_path / "loop"):
        listing.check_apart(outside, [here])


def tar_of(path, mode, count=6):
    with tarfile.open(path, mode) as tar:
        for i in range(count):
            buffer = io.BytesIO()
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(buffer, "BMP")
            member = tarfile.TarInfo(f"{i}.bmp")  # of no checksum: what is wrong in it, the tar must tell
            member.size = len(buffer.getvalue())
            tar.addfile(member, io.BytesIO(buffer.getvalue()))
    return path.read_bytes()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_tar_is_read_whole_or_is_an_error(tmp_path, mode):
    """However a tar is cut or damaged, its pictures are all there, or it is refused; a shorter set never comes."""
    path = tmp_path / "p.tar"
    whole = tar_of(path, mode)
    pixels = data.read(path, (3, 32, 32)).pixels
    assert len(pixels) == 6
    rng = np.random.default_rng(0)
    cuts = [whole[: len(whole) * i // 20] for i in range(1, 20)]
    flips = [whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :] for i in rng.integers(0, len(whole), 60).tolist()]
    read = []
    for content in cuts + flips:
        path.write_bytes(content)
        try:
            read.append(data.read(path, (3, 32, 32)).pixels)
        except ValueError:
            continue
    assert len(read) < len(cuts + flips) / 2 or mode == "w"
    assert all(len(found) == 6 for found in read)
    assert all(torch.equal(found, pixels) for found in read) or mode == "w"  # where nothing sums up a picture's bytes


def test_a_plain_tar_cut_or_damaged_in_a_header_is_refused(tmp_path):
    whole = tar_of(tmp_path / "p.tar", "w")
    with tarfile.open(tmp_path / "p.tar") as tar:
        offset = tar.getmembers()[3].offset
    zeroed = whole[:offset] + bytes(512) + whole[offset + 512 :]
    other = whole[: offset + 5] + b"?" + whole[offset + 6 :]
    for content in (whole[:offset], whole[: offset + 200], other, zeroed, whole + whole):
        (tmp_path / "p.tar").write_bytes(content)
        with pytest.raises(BadPicture, match=r"whole tar.*p\.tar"):
            data.read(tmp_path / "p.tar", (3, 32, 32))


def test_links_in_a_tar_and_tars_that_do_not_open_are_refused(tmp_path):
    """Neither leaves a shorter set, even where bad files are passed over."""
    whole = tar_of(tmp_path / "p.tar.bz2", "w:bz2")
    (tmp_path / "p.tar.bz2").write_bytes(whole[:100])
    with tarfile.open(tmp_path / "l.tar", "w") as tar:
        member = tarfile.TarInfo("link.png")
        member.type, member.linkname = tarfile.LNKTYPE, "0.png"
        tar.addfile(member)
    for name, told in (("p.tar.bz2", "whole tar"), ("l.tar", "got a link")):
        with pytest.raises(BadPicture, match=told):
            data.read(tmp_path / name, (3, 32, 32), on_bad=lambda _: None)


def test_a_hidden_folder_is_read_where_a_link_shows_it(tmp_path):
    (tmp_path / ".store").mkdir()
    save(picture(), tmp_path / ".store" / "a.png")
    (tmp_path / "people").symlink_to(tmp_path / ".store")
    assert data.read(tmp_path, (3, 32, 32)).names == (str(tmp_path / "people" / "a.png"),)


def test_a_lone_colour_array_is_not_taken_for_rows_of_grey_pictures():
    with pytest.raises(ValueError, match=r"picture\[None\]"):
        preprocess(np.zeros((16, 16, 3), dtype=np.uint8), (3, 32, 32))


def test_grey_in_floats_and_32_bits_keeps_its_shades(tmp_path):
    ramp = np.linspace(0, 1, 32 * 32).reshape(32, 32)
    for values in (ramp.astype(np.float32), (ramp * 2**30).astype(np.int32), (ramp * 60_000).astype(np.int32)):
        fitted = preprocess_one(Image.fromarray(values), (1, 32, 32))[0]
        top = 255 if values.dtype == np.float32 else 255 * int(values.max()) / 2 ** int(values.max()).bit_length()
        assert np.abs(fitted - ramp * top).max() <= 1.5
    ramp[0, 0] = np.nan
    assert preprocess_one(Image.fromarray(ramp.astype(np.float32)), (1, 32, 32))[0].std() > 50


def test_no_picture_is_told(tmp_path):
    with pytest.raises(ValueError, match="at least one picture"):
        data.read(tmp_path, (3, 32, 32))
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ValueError, match="only bad ones"):
        data.read(tmp_path, (3, 32, 32), on_bad=lambda _: None)
    with pytest.raises(FileNotFoundError, match="not there"):
        data.read(tmp_path / "nowhere", (3, 32, 32))


def test_a_picture_too_large_to_open_is_told(tmp_path, monkeypatch):
    save(picture(size=(60, 60)), tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadPicture, match=r"megapixels.*large\.png"):
        data.read(tmp_path, (3, 32, 32))


@pytest.mark.parametrize(
    ("wide", "high", "across", "down"), [(4, 12, 4, 12), (12, 4, 12, 4), (4, 8, 8, 16), (8, 4, 16, 8)]
)
def test_what_is_small_in_both_is_enlarged_until_one_side_is_reached(wide, high, across, down):
    lit = preprocess(Image.new("L", (wide, high), 255), (1, 16, 16))[0, 0] == 255
    assert (int(lit.any(0).sum()), int(lit.any(1).sum()), int(lit.sum())) == (across, down, across * down)


def test_pictures_of_the_models_shape_are_a_copy():
    pixels = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    preprocess(pixels, (3, 4, 4)).fill_(9)
    assert not pixels.any()


def test_pictures_without_colour_are_those_of_luma():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)[:, :, None, None]
    assert greyscale(colours)[:, :, 0, 0].tolist() == [[76] * 3, [150] * 3, [29] * 3]


def test_what_gives_an_array_when_asked_is_one():
    """Data sets of h5py and zarr."""
    pixels = np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3)

    class Stored:
        def __array__(self, dtype=None, copy=None):
            return pixels

    assert torch.equal(preprocess(Stored(), (3, 4, 4)), preprocess(pixels, (3, 4, 4)))
    with pytest.raises(TypeError, match="Expected an array of uint8 pixels"):
        preprocess(pixels.astype(np.int64), (3, 4, 4))
