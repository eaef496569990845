// The page of `transect review`: the list of images, the desk on which one lies, and the keys.

import * as api from "./api";
import { Drawer } from "./drawer";
import { List } from "./list";
import { ask, element, make } from "./page";
import { People } from "./people";

const DRAWN: [string, string][] = [
  ["V", "select; Shift and a click selects more"],
  [". and ,", "next and previous object; Shift and . adds one"],
  ["1 to 9", "class, of what is selected or of what comes"],
  ["Delete", "delete what is selected"],
  ["+, -, 0", "larger, smaller, the whole image"],
  ["H", "hide or show the marks"],
  ["O", "show or hide what the run answers"],
  ["R", "take the run's answer in the place of the marks"],
];
const KEYS: Record<api.Surface, [string, string][]> = {
  areas: [
    ["B, E, P, S", "brush, erase, polygon, split (draw a line across)"],
    ["M", "merge what is selected"],
    ["[ and ]", "a narrower and a wider brush"],
    ["Escape", "select nothing: the next stroke begins a new object"],
    ...DRAWN,
  ],
  places: [["D, X", "dot, box"], ["Alt and arrows", "move what is selected"], ...DRAWN],
  labels: [["1 to 9", "label"], ["+, -, 0", "larger, smaller, the whole image"]],
  individuals: [
    ["C", "it is the individual beside it"],
    ["arrows, 1 to 9", "choose a candidate"],
    ["A", "another: type a name"],
    ["N", "a new individual"],
    ["U", "cannot tell"],
    ["G", "unite the two names: they are one individual"],
    ["L", "lines between what the two photos share"],
    [". and ,", "next and previous animal on the photo"],
  ],
};
const COMMON: [string, string][] = [
  ["Enter", "accept, and go to the next image"],
  ["Page down, Page up", "next and previous image; also J and K"],
  ["Z, Y", "undo, redo"],
  ["arrows on the image", "move the cursor; Space uses the tool there"],
];

class Page {
  private current = "";
  private readonly list: List;
  private readonly desk: Drawer | People;

  constructor(private readonly review: api.Review) {
    element("survey").textContent = `${review.survey} · ${review.who}`;
    document.title = `${review.survey} · transect review`;
    this.list = new List(review.images, (name) => void this.open(name));
    const send = (asked: Record<string, unknown>) => this.send(asked);
    const say = (text: string) => this.say(text);
    this.desk =
      review.surface === "individuals"
        ? new People(send, say, () => this.go(1))
        : new Drawer(review, send, say);
    element("take").hidden = !review.run || review.surface === "individuals";
    this.showUndoable(review);
    const on = (id: string, what: () => void) => element(id).addEventListener("click", what);
    on("undo", () => void this.send({ do: "undo" }));
    on("redo", () => void this.send({ do: "redo" }));
    on("accept", () => void this.accept());
    on("take", () => void this.send({ do: "take" }));
    on("back", () => this.go(-1));
    on("next", () => this.go(1));
    on("help", () => void this.help());
    on("people", () => void this.agreement());
    document.addEventListener("keydown", (event) => this.key(event));
  }

  async open(name: string): Promise<void> {
    if (!name) return;
    this.current = name;
    this.list.choose(name);
    try {
      const opened = await api.image(name);
      if (this.current !== name) return;
      this.desk.open(opened);
      this.describe();
      this.fail("");
    } catch (error) {
      this.fail((error as Error).message);
    }
  }

  start(): void {
    const { images } = this.review;
    void this.open((images.find((row) => !row.accepted) ?? images[0])?.name ?? "");
  }

  learn(known: api.Proposed[]): void {
    if (this.desk instanceof People) this.desk.learn(known);
  }

  private go(step: number): void {
    const name = this.list.beside(step);
    if (name !== this.current) void this.open(name);
    else this.say(step > 0 ? "this is the last image of the list" : "this is the first image of the list");
  }

  // Sends a command; gives true if it was done. Commands wait for one another, so that none
  // overtakes the one before.
  private waiting: Promise<unknown> = Promise.resolve();

  private send(asked: Record<string, unknown>): Promise<boolean> {
    const image = this.current;
    this.say(""); // so that the same words are read out again
    const sent = this.waiting.then(() => this.sendNow({ image, ...asked }));
    this.waiting = sent;
    return sent;
  }

  private async sendNow(asked: Record<string, unknown>): Promise<boolean> {
    try {
      const done = await api.command(asked);
      this.fail("");
      const names = Object.keys(done.images);
      for (const [name, { accepted, corrected }] of Object.entries(done.images)) {
        const row = this.list.row(name);
        if (row) Object.assign(row, { accepted, corrected });
      }
      this.list.draw();
      this.showUndoable(done);
      this.say(names.length ? `${asked.do}: done` : "nothing changed");
      const here = done.images[this.current];
      if (here) this.desk.update(this.current, here.marks, here.ids);
      else if (names.length && (asked.do === "undo" || asked.do === "redo")) await this.open(names[0]);
      this.describe();
      return true;
    } catch (error) {
      this.fail((error as Error).message || "the server does not answer");
      return false;
    }
  }

  private async accept(): Promise<void> {
    const row = this.list.row(this.current);
    const accepted = !row?.accepted;
    if ((await this.send({ do: "accept", accepted })) && accepted) this.go(1);
  }

  private showUndoable({ undo, redo }: api.Undoable): void {
    for (const [id, what] of [["undo", undo], ["redo", redo]]) {
      const button = element<HTMLButtonElement>(id);
      button.disabled = !what;
      button.title = what ? `${id} ${what}` : "";
    }
  }

  private describe(): void {
    const row = this.list.row(this.current);
    if (!row) return;
    const facts = [`${row.size[1]} × ${row.size[0]} px`, row.why, row.corrected && "corrected", row.accepted && "accepted"];
    element("title").replaceChildren(row.name, " ", make("small", {}, facts.filter(Boolean).join(" · ")));
    element("accept").textContent = row.accepted ? "Not accepted after all" : this.desk instanceof People ? "Right as it is" : "Accept";
  }

  private say(text: string): void {
    element("said").textContent = text;
  }

  private fail(text: string): void {
    element("error").textContent = text;
  }

  private async help(): Promise<void> {
    const rows = [...KEYS[this.review.surface], ...COMMON].map(([key, what]) =>
      make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, what)),
    );
    await ask("Keys", [make("table", {}, ...rows)], null);
  }

  private async agreement(): Promise<void> {
    try {
      const { people, words } = await api.agreement();
      const body: Node[] = people.map(({ who, images, measures }) => {
        const rows = Object.entries(measures).map(([name, value]) =>
          make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value.toFixed(3)), make("td", {}, words[name])),
        );
        return make("section", {}, make("p", {}, `You and ${who}: ${images} images that both answered.`), make("table", {}, ...rows));
      });
      if (!body.length)
        body.push(make("p", {}, "Nobody else has answered yet. Another person begins with --name NAME on the same --out folder."));
      await ask("Agreement", body, null);
    } catch (error) {
      this.fail((error as Error).message);
    }
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const typing = target.matches("input[type=text], input[type=search], select, textarea");
    if (typing || element<HTMLDialogElement>("dialog").open || event.defaultPrevented) return;
    const key = event.key.toLowerCase();
    const meta = event.ctrlKey || event.metaKey;
    const pressed = target.matches("button, input") && (key === "enter" || key === " " || key.startsWith("arrow"));
    if (pressed) return;
    let meant = true;
    if (key === "z" && (!event.shiftKey || !meta)) void this.send({ do: "undo" });
    else if (key === "y" || (key === "z" && meta)) void this.send({ do: "redo" });
    else if (meta) meant = false;
    else if (key === "enter") void this.accept();
    else if (key === "pagedown" || key === "j") this.go(1);
    else if (key === "pageup" || key === "k") this.go(-1);
    else if (key === "r" && !element("take").hidden) void this.send({ do: "take" });
    else if (key === "?") void this.help();
    else meant = this.desk.key(event);
    if (meant) event.preventDefault();
  }
}

try {
  const found = await api.review();
  const page = new Page(found);
  if (found.surface === "individuals") page.learn(found.known);
  page.start();
} catch (error) {
  element("error").textContent = `The review cannot be opened: ${(error as Error).message}`;
}
