"""The panel of classes: a few pictures of each, and pictures to tell apart, with "none of these"."""

from __future__ import annotations

from typing import Any

from transflow.app import bounds, markup, recipes
from transflow.app.bundle import Made, folder_of
from transflow.app.classifying import classified
from transflow.app.gathering import Seen, seen
from transflow.app.page_results import again, shown
from transflow.app.page_sets import set_panel
from transflow.app.wiring import Asked, Wires

NAMES = ("one", "other", "third", "fourth", "fifth")
FIRST = 2  # classes that are seen at once
WORDS = "The classes' pictures and those to tell apart, as the model saw them, and code."


def classes_panel(wires: Wires, model: Any) -> None:
    """Build the panel where the page is being built."""
    gr = wires.gr
    names, groups = [], []
    with gr.Row():
        for i, word in enumerate(NAMES[: bounds.CLASSES]):
            with gr.Column(min_width=260, visible=i < FIRST, elem_id=f"class-{i}") as group:
                names.append(gr.Textbox(word, label=f"Name of class {i + 1}", max_length=40, elem_id=f"class-{i}-name"))
                set_panel(wires, f"class-{i}", "Its pictures", model)
            groups.append(group)
    more = gr.Button("Another class", size="sm", elem_id="more-classes")
    there = gr.State(FIRST)
    set_panel(wires, "query", "Pictures to tell apart", model, camera=True)
    with gr.Row():
        go = gr.Button("Tell them apart", variant="primary", elem_id="classify-go")
        stop = gr.Button("Stop", elem_id="classify-stop")
    said = gr.HTML(elem_id="classify-said", padding=False)
    table = gr.HTML(elem_id="classified", padding=False, min_height=96)
    code = again(wires, "classify", WORDS)

    def another(asked: Asked, count: int) -> list[Any]:
        count = min(count + 1, len(groups))
        return [
            count,
            gr.update(visible=count < len(groups)),
            *(gr.update(visible=i < count) for i in range(len(groups))),
        ]

    def tell(asked: Asked, name: str, *words: str) -> list[Any]:
        session = asked.session
        found, instead = wires.shelf.quick(session, name)
        work = asked.work("classify")
        sets: dict[str, Seen] = {}
        for i, word in enumerate(words):
            some = seen(wires.shelf, session, f"class-{i}", found, work)
            if len(some) and word.strip() in sets:
                raise ValueError(f"Expected different names of classes; got {word.strip()[:40]!r} twice. Rename one.")
            if len(some):
                sets[word.strip()] = some
        query = seen(wires.shelf, session, "query", found, work)
        result = classified(found, sets, query, work=work)

        def files() -> dict[str, bytes]:
            examples = [folder_of(some, f"support/{word}") for word, some in sets.items()]
            return {**folder_of(query, "query"), **{path: file for part in examples for path, file in part.items()}}

        own = wires.shelf.beside(session, found.name)
        made = Made(files, recipes.classes(found.name, result.classes), own)
        note = f"{instead}{result.note}"
        return [markup.note(note), markup.classes(result, query), *shown(asked, "classify", made)]

    wires.on(more.click, another, [there], [there, more, *groups], group="at once")
    wires.on(go.click, tell, [model, *names], [said, table, *code.code], group="long", shows="full")
    wires.stopper(stop, "classify")
