"""The panel of scores: how likely pictures are, and how typical beside the evidence."""

from __future__ import annotations

from typing import Any

from transflow.app import markup, recipes
from transflow.app.bundle import Made, folder_of
from transflow.app.gathering import seen
from transflow.app.page_results import again, shown
from transflow.app.page_sets import set_panel
from transflow.app.scoring import scored
from transflow.app.wiring import Asked, Wires

WORDS = "The pictures as the model saw them, and code."
LIKELY = (
    "The most likely pictures are not the most ordinary: a blank one is likelier than a face. So compare with ordinary "
    "pictures, as evidence: the p-values say how often one of them is as unlikely, and as far from their middle."
)


def score_panel(wires: Wires, model: Any) -> None:
    """Build the panel where the page is being built."""
    gr = wires.gr
    gr.Markdown(LIKELY)
    set_panel(wires, "scored", "Pictures to score", model)
    beside = gr.Checkbox(True, label="Compare with the evidence", elem_id="score-beside")
    with gr.Row():
        go = gr.Button("Score", variant="primary", elem_id="score-go")
        stop = gr.Button("Stop", elem_id="score-stop")
    said = gr.HTML(elem_id="score-said", padding=False)
    table = gr.HTML(elem_id="score-table", padding=False, min_height=96)
    code = again(wires, "score", WORDS)

    def score(asked: Asked, name: str, compare: bool) -> list[Any]:
        session = asked.session
        found, instead = wires.shelf.quick(session, name)
        work = asked.work("score")
        some = seen(wires.shelf, session, "scored", found, work)
        reference = seen(wires.shelf, session, "evidence", found, work) if compare else None
        result = scored(found, some, reference, work)
        with_reference = result.by_likelihood is not None

        def files() -> dict[str, bytes]:
            beside = folder_of(reference, "evidence") if reference is not None else {}
            return {**folder_of(some, "pictures"), **beside}

        own = wires.shelf.beside(session, found.name)
        made = Made(files, recipes.scores(found.name, with_reference), own)
        return [markup.note(instead), markup.scores(result, some), *shown(asked, "score", made)]

    wires.on(go.click, score, [model, beside], [said, table, *code.code], group="long", shows="full")
    wires.stopper(stop, "score")
