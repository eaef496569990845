// The list of images: in the order of doubt, with what was done to each.

import { type ImageRow } from "./api";
import { element, make } from "./page";

const SHOWN = 300; // rows that are in the page at once, around the current one

export class List {
  private current = "";

  constructor(private readonly rows: ImageRow[], private readonly open: (name: string) => void) {
    element("which").addEventListener("change", () => this.draw());
    element("find").addEventListener("input", () => this.draw());
  }

  row(name: string): ImageRow | undefined {
    return this.rows.find((row) => row.name === name);
  }

  // The images that are listed, as chosen and found.
  private get listed(): ImageRow[] {
    const which = element<HTMLSelectElement>("which").value;
    const text = element<HTMLInputElement>("find").value.toLowerCase();
    return this.rows.filter(
      (row) =>
        row.name === this.current ||
        (row.name.toLowerCase().includes(text) &&
          (which === "all" ||
            (which === "open" && !row.accepted) ||
            (which === "corrected" && row.corrected) ||
            (which === "new" && !row.labelled))),
    );
  }

  // The image some places after the current one, or the current one at the ends.
  beside(step: number): string {
    const { listed } = this;
    const at = listed.findIndex((row) => row.name === this.current) + step;
    return listed[Math.min(Math.max(at, 0), listed.length - 1)]?.name ?? this.current;
  }

  choose(name: string): void {
    this.current = name;
    this.draw();
  }

  draw(): void {
    const { listed } = this;
    const at = Math.max(0, listed.findIndex((row) => row.name === this.current));
    const first = Math.max(0, Math.min(at - SHOWN / 2, listed.length - SHOWN));
    const items = listed.slice(first, first + SHOWN).map((row) => this.item(row));
    const images = element("images");
    images.replaceChildren(...items);
    images.setAttribute("start", String(first + 1));
    images.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    const done = this.rows.filter((row) => row.accepted).length;
    const corrected = this.rows.filter((row) => row.corrected).length;
    element("done").textContent =
      `${done} of ${this.rows.length} accepted, ${corrected} corrected`;
    element<HTMLProgressElement>("progress").value = done / Math.max(1, this.rows.length);
  }

  private item(row: ImageRow): HTMLLIElement {
    const state = [row.accepted && "accepted", row.corrected && "corrected", !row.labelled && "new"]
      .filter(Boolean)
      .join(", ");
    const current = row.name === this.current;
    const button = make(
      "button",
      { "aria-current": current ? "true" : null, class: row.accepted ? "accepted" : null },
      make("span", { class: "name" }, row.name),
      make("span", { class: "state" }, [state, row.why].filter(Boolean).join(" · ")),
    );
    button.addEventListener("click", () => this.open(row.name));
    return make("li", {}, button);
  }
}
