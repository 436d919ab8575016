"""How much one session, and all of them together, may ask for: a page that is open to others stays within memory.

Whatever a session sends is counted before it is read, and read before it is decoded.
"""

from __future__ import annotations

MEGABYTE = 1_000_000

PICTURES = 100  # of one set
PICTURE_BYTES = 20 * MEGABYTE  # of a picture file
PICTURE_PIXELS = 50_000_000  # of a picture
MODEL_BYTES = 500 * MEGABYTE  # of a model file: the most that one upload may be
REQUEST_BYTES = MODEL_BYTES + 10 * MEGABYTE  # of one request, all its files together
EVENT_BYTES = 16 * MEGABYTE  # of a request that is no upload
UPLOADED_BYTES = 4_000 * MEGABYTE  # of all files on disk, of all sessions
SESSIONS = 200  # at a time; the one that was idle the longest makes room
SECONDS = 3600  # after which an idle session, and any file, is deleted
LATENT_BYTES = 64 * MEGABYTE  # of encoded pictures that a session keeps
NUMBERS = 3 * 512 * 512  # of a picture of an uploaded model
MODELS = 4  # in memory at a time
CLASSES = 5  # to tell apart
NUMBER = 36  # new pictures drawn at a time: so many latents are drawn, and the first of them decoded
FOLLOWED = 6  # samples of an animation
STEPS = 24  # of an animation
COMPLETIONS = 8
LARGE = 10_000  # numbers of a latent, from which on a model is slow, and fewer pictures are drawn
QUEUE = 500  # events that wait; more are refused in one line
AT_A_TIME = 1  # events of a kind that compute: redraws, encodes, the model's own pictures, and what takes long


def check_count(count: int, have: int = 0) -> None:
    """Raise `ValueError` where a set would have more pictures than it may."""
    if have + count > PICTURES:
        more = f" beside the {have} that are there" if have else " at once"
        raise ValueError(f"Expected at most {PICTURES} pictures in a set; got {count}{more}. Give fewer.")
