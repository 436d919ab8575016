"""What stands below every panel's pictures: the code that makes them again, and a file of it all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transflow.app.bundle import Made, pack
from transflow.app.wiring import Asked, Wires


@dataclass(frozen=True, eq=False)
class Again:
    """The components of code and download.

    Attributes:
        python: shows the script.
        shell: shows the lines.
    """

    python: Any
    shell: Any

    @property
    def code(self) -> list[Any]:
        """The components that show code, in the order of `shown`."""
        return [self.python, self.shell]


def shown(asked: Asked, panel: str, made: Made) -> list[str]:
    """Keep what a panel made; return its code, for `Again.code`."""
    asked.session.results[panel] = made
    return [made.recipe.python, made.recipe.shell]


def again(wires: Wires, panel: str, words: str) -> Again:
    """Build the components where the page is being built.

    Args:
        wires: to the framework.
        panel: of which they are.
        words: what the file holds.
    """
    gr = wires.gr
    with gr.Accordion("Download, and the code that does the same", open=False, elem_id=f"{panel}-again"):
        gr.Markdown(words)
        make = gr.Button("Make a zip file", size="sm", elem_id=f"{panel}-zip")
        file = gr.File(label="File", interactive=False, visible=False, elem_id=f"{panel}-file")
        python = gr.Code(language="python", label="In Python", interactive=False, elem_id=f"{panel}-python")
        shell = gr.Code(language="shell", label="On the command line", interactive=False, elem_id=f"{panel}-shell")

    def packed(asked: Asked) -> Any:
        made = asked.session.results.get(panel)
        if made is None:
            raise ValueError("Expected something made to download; got nothing yet. Make it first.")
        return gr.update(value=str(pack(asked.session, f"transflow-{panel}", made)), visible=True)

    wires.on(make.click, packed, [], [file], group="long", shows="full")
    return Again(python, shell)
