"""The whole page: the model, the evidence, and a tab for each thing to do with them."""

from __future__ import annotations

from typing import Any

from transflow.app.page_classes import classes_panel
from transflow.app.page_complete import complete_panel
from transflow.app.page_edit import edit_panel, picture_panel
from transflow.app.page_new import new_panel
from transflow.app.page_score import score_panel
from transflow.app.page_sets import set_panel
from transflow.app.page_way import way_panel
from transflow.app.wiring import Asked, Wires

TITLE = "transflow"
WORDS = """# transflow
A new generative model from a handful of pictures, without training. Give some pictures, or take a sample set: new ones
like them appear at once."""
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
CSS = """
.tf-figure { margin: 0; }
.tf-figure img, .tf-picture { display: block; max-width: 100%; }
.tf-figure > img, .tf-figure > picture > img { width: 100%; height: auto; margin-bottom: .4rem; }
.tf-sharp { image-rendering: pixelated; }
.tf-figure figcaption, .tf-note { font-size: .85rem; color: var(--body-text-color); opacity: .8; margin: .25rem 0 0; }
.tf-empty { opacity: .8; margin: 0; }
.tf-strip { display: flex; flex-wrap: wrap; gap: 4px; list-style: none; margin: 0; padding: 0;
  max-height: 240px; overflow-y: auto; }
.tf-strip li { margin: 0; padding: 0; }
.tf-strip img { width: 48px; height: 48px; object-fit: contain; }
.tf-scroll { overflow-x: auto; max-height: 480px; overflow-y: auto; }
.tf-pair { max-width: 34rem; }
.tf-table { border-collapse: collapse; width: 100%; font-size: .9rem; }
.tf-table th, .tf-table td { text-align: left; padding: .3rem .5rem; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important;
  white-space: nowrap; }
.tf-table th[scope=row] { font-weight: normal; }
.tf-table th[scope=row] img { display: inline-block; vertical-align: middle; margin-right: .5rem; width: 40px; height: 40px; object-fit: contain; }
.tf-table th[scope=row] span { display: inline-block; vertical-align: middle; max-width: 12rem; overflow: hidden;
  text-overflow: ellipsis; }
.tf-share { background: linear-gradient(var(--color-accent-soft), var(--color-accent-soft)) no-repeat 0 0 /
  calc(var(--share) * 100%) 100%; }
"""


def build(wires: Wires) -> Any:
    """Return the page, of the framework's blocks."""
    gr = wires.gr
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(WORDS)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                model = gr.Dropdown(
                    list(wires.shelf.names), value=wires.shelf.names[0], label="Model", elem_id="model", filterable=False
                )
                with gr.Accordion("A model file of your own", open=False):
                    own = gr.File(label="Model file (.safetensors)", height=110, elem_id="own-model")
                gr.Markdown("## Evidence")
                evidence = set_panel(wires, "evidence", "Evidence", model, camera=True, opens=page.load)
            with gr.Column(scale=5, min_width=320), gr.Tabs():
                with gr.Tab("New pictures", id="new"):
                    sliders = new_panel(wires, model, evidence, page.load)
                with gr.Tab("Way to others", id="way"):
                    way_panel(wires, model, sliders)
                with gr.Tab("One picture", id="edit"):
                    pictures, which = picture_panel(wires, model)
                    with gr.Tabs():
                        edit_panel(wires, model, evidence, pictures, which)
                        with gr.Tab("Completed"):
                            complete_panel(wires, model, pictures, which)
                with gr.Tab("Classes", id="classes"):
                    classes_panel(wires, model)
                with gr.Tab("Scores", id="scores"):
                    score_panel(wires, model)

        def add_model(asked: Asked, path: str | None) -> list[Any]:
            if not path:
                raise ValueError("Expected a model file; got none. Choose one.")
            name = wires.shelf.add(asked.session, path)
            return [None, gr.update(choices=wires.shelf.choices(asked.session), value=name)]

        wires.on(own.upload, add_model, [own], [own, model], shows="full", failed=[None, gr.skip()])

        def left(request: Any) -> None:
            wires.sessions.drop(request.session_hash)

        left.__annotations__ = {"request": gr.Request}
        page.unload(left)
    return page

