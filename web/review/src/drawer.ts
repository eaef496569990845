// Correcting what is drawn: masks, dots, boxes, and words about an image, by pointer or by keys.

import { type Mark, type Opened, type Review } from "./api";
import { Canvas, type XY } from "./canvas";
import { colourOf } from "./colours";
import { element, make } from "./page";
import { type Tool, Toolbox } from "./tools";

type Send = (asked: Record<string, unknown>) => Promise<unknown>;

const TOOLS: Record<string, [Tool, string, string][]> = {
  areas: [
    ["select", "V", "Select"],
    ["brush", "B", "Brush"],
    ["erase", "E", "Erase"],
    ["polygon", "P", "Polygon"],
    ["split", "S", "Split"],
  ],
  places: [
    ["select", "V", "Select"],
    ["dot", "D", "Dot"],
    ["box", "X", "Box"],
  ],
  labels: [],
};
const ARROWS: Record<string, XY> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export class Drawer {
  private readonly canvas: Canvas;
  private readonly toolbox: Toolbox;
  private marks = new Map<string, Mark>();
  private chosen: string[] = [];
  private tool: Tool = "select";
  private label: string;
  private size: [number, number] = [1, 1];
  private cursor: XY | null = null;
  private trail: XY[] | null = null; // what the keyboard is drawing
  private shown = { marks: true, proposed: false };

  constructor(private readonly review: Review, private readonly send: Send, private readonly say: (text: string) => void) {
    this.label = review.classes[0];
    this.canvas = new Canvas(element("map"), review.classes);
    this.toolbox = new Toolbox(this.canvas, {
      radius: () => this.radius,
      stroke: (points, erase) => this.stroke(points, erase),
      polygon: (points) => this.draw("polygon", { points }),
      split: (points) => this.split(points),
      dot: (place) => this.add({ dot: place }),
      box: (box) => this.add({ box }),
      pick: (place, more) => this.pick(place, more),
      grab: (place) => this.grab(place),
    });
    this.makeBar();
    this.take({ areas: "brush", labels: "select", places: review.boxes ? "box" : "dot" }[
      review.surface as "areas" | "places" | "labels"
    ] as Tool);
    const map = element("map");
    map.addEventListener("keydown", (event) => this.moveCursor(event));
    map.addEventListener("pointerdown", () => this.setCursor(null));
    map.addEventListener("blur", () => this.setCursor(null));
    new ResizeObserver(() => this.canvas.map.updateSize()).observe(map);
  }

  open(opened: Opened): void {
    this.size = opened.size;
    this.marks = new Map(opened.marks.map((mark) => [mark.id, mark]));
    this.chosen = [];
    this.trail = null;
    this.cursor = null;
    this.canvas.setCursor(null, 0);
    this.canvas.show(opened.name, opened.size, opened.marks, opened.proposed);
    this.canvas.showProposed(this.shown.proposed);
    this.describe(opened.name);
  }

  update(name: string, marks: Mark[], ids: string[]): void {
    for (const mark of marks) this.marks.set(mark.id, mark);
    const there = new Set(ids);
    const fresh = marks.filter((mark) => there.has(mark.id)).map((mark) => mark.id);
    for (const id of [...this.marks.keys()]) if (!there.has(id)) this.marks.delete(id);
    this.canvas.update(marks, ids);
    const left = this.chosen.filter((id) => there.has(id));
    // What was just begun is chosen, so that the next stroke adds to it.
    const begun = this.review.surface === "areas" && !left.length && this.tool !== "select";
    this.choose(begun && fresh.length ? fresh.slice(0, 1) : left, false);
    this.describe(name);
  }

  private get radius(): number {
    return Number(element<HTMLInputElement>("radius").value);
  }

  // --- the bar

  private makeBar(): void {
    const { surface, classes } = this.review;
    const tools = TOOLS[surface].map(([tool, key, name]) => {
      const button = make("button", { "data-tool": tool, "aria-keyshortcuts": key }, name, make("kbd", {}, key));
      button.addEventListener("click", () => this.take(tool));
      return button;
    });
    const act = (name: string, key: string, what: () => void) => {
      const button = make("button", { "aria-keyshortcuts": key }, name, make("kbd", {}, key));
      button.addEventListener("click", what);
      return button;
    };
    if (surface === "areas") tools.push(act("Merge", "M", () => this.merge()));
    if (surface !== "labels") tools.push(act("Delete", "Delete", () => this.drop()));
    element("tools").replaceChildren(...tools);
    element("width").hidden = surface !== "areas";
    element("radius").addEventListener("input", () => this.setRadius(this.radius));
    const buttons = classes.map((name, k) => {
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      swatch.setAttribute("class", "swatch");
      swatch.setAttribute("viewBox", "0 0 1 1");
      const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [key, value] of Object.entries({ width: "1", height: "1", fill: colourOf(k) }))
        square.setAttribute(key, value);
      swatch.append(square);
      const key = k < 9 ? String(k + 1) : null;
      const hint = key ? [make("kbd", {}, key)] : [];
      const button = make("button", { "data-label": name, "aria-keyshortcuts": key }, swatch, name, ...hint);
      button.addEventListener("click", () => this.setLabel(k));
      return button;
    });
    element("classes").replaceChildren(...buttons);
    this.showLabel();
  }

  private take(tool: Tool): void {
    this.tool = tool;
    this.giveUp();
    for (const button of element("tools").querySelectorAll<HTMLElement>("[data-tool]"))
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    element("map").classList.toggle("pan", tool === "select");
    this.toolbox.take(tool);
  }

  private setLabel(k: number): void {
    const { classes, surface, several } = this.review;
    if (k >= classes.length) return;
    this.label = classes[k];
    if (surface === "labels") void this.send({ do: "label", label: this.label, several });
    else if (this.chosen.length) void this.send({ do: "relabel", marks: this.chosen, label: this.label });
    this.showLabel();
  }

  private showLabel(): void {
    const there = new Set([...this.marks.values()].map((mark) => mark.label));
    for (const button of element("classes").querySelectorAll<HTMLElement>("[data-label]")) {
      const name = button.dataset.label as string;
      const pressed = this.review.surface === "labels" ? there.has(name) : name === this.label;
      button.setAttribute("aria-pressed", String(pressed));
    }
  }

  private setRadius(radius: number): void {
    const input = element<HTMLInputElement>("radius");
    input.value = String(radius);
    element("radius-said").textContent = `${this.radius} px`;
    if (this.cursor) this.setCursor(this.cursor);
  }

  // --- what is chosen

  private choose(ids: string[], tell = true): void {
    this.chosen = ids;
    this.canvas.select(ids);
    if (!tell) return;
    if (!ids.length) this.say("nothing selected");
    else if (ids.length > 1) this.say(`${ids.length} objects selected`);
    else this.say(`${this.marks.get(ids[0])?.label ?? "object"} ${this.order.indexOf(ids[0]) + 1} of ${this.marks.size} selected`);
  }

  private get order(): string[] {
    return [...this.marks.keys()];
  }

  private pick(place: XY, more: boolean): void {
    const [id] = this.canvas.at(place);
    if (!id) this.choose([]);
    else if (!more) this.choose([id]);
    else if (this.chosen.includes(id)) this.choose(this.chosen.filter((other) => other !== id));
    else this.choose([...this.chosen, id]);
  }

  private step(by: number): void {
    const { order } = this;
    if (!order.length) return;
    const at = order.indexOf(this.chosen[0] ?? "");
    const id = order[(at + by + order.length + (at < 0 && by < 0 ? 1 : 0)) % order.length];
    this.choose([id]);
    const middle = middleOf(this.marks.get(id) as Mark);
    if (middle) this.canvas.reveal(middle);
    if (middle && document.activeElement === element("map")) this.setCursor(middle);
  }

  private grab(place: XY): ((to: XY, done: boolean) => void) | null {
    const [id] = this.canvas.at(place);
    const mark = id ? this.marks.get(id) : undefined;
    if (!mark || mark.area) return null;
    const near = 8 * (this.canvas.map.getView().getResolution() ?? 1);
    const corner = mark.box && cornerAt(mark.box, place, near);
    let moved = false;
    return (to, done) => {
      const by: XY = [to[0] - place[0], to[1] - place[1]];
      moved ||= Math.hypot(...by) > near / 4;
      if (!moved) {
        if (done) this.choose([id]);
        return;
      }
      const now = shifted(mark, by, corner ?? null);
      if (!done) this.canvas.update([{ ...mark, ...now }], this.order);
      else void this.send({ do: "move", mark: id, to: now }).catch(() => this.canvas.update([mark], this.order));
    };
  }

  // --- what is drawn

  private stroke(points: XY[], erase: boolean): void {
    this.draw("brush", { points, radius: this.radius, erase });
  }

  private draw(word: string, more: Record<string, unknown>): void {
    void this.send({ do: word, mark: this.chosen[0] ?? null, label: this.label, ...more });
  }

  private add(place: Partial<Mark>): void {
    void this.send({ do: "add", mark: { label: this.label, ...place } });
  }

  private split(points: XY[]): void {
    const middle = points[points.length >> 1];
    const mark = this.chosen[0] ?? points.map((place) => this.canvas.at(place)[0]).find(Boolean) ?? this.canvas.at(middle)[0];
    if (mark) void this.send({ do: "split", mark, points });
    else this.say("no object lies under the line");
  }

  private merge(): void {
    if (this.chosen.length > 1) void this.send({ do: "merge", marks: this.chosen });
    else this.say("select two or more objects first: with Shift and a click, or with Shift and full stop");
  }

  private drop(): void {
    if (this.chosen.length) void this.send({ do: "drop", marks: this.chosen });
    else this.say("select an object first");
  }

  // --- keys

  // Keys that work wherever the focus is; tells whether one was meant.
  key(event: KeyboardEvent): boolean {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const tool = TOOLS[this.review.surface].find(([, letter]) => letter.toLowerCase() === key);
    if (tool) this.take(tool[0]);
    else if (/^[1-9]$/.test(key)) this.setLabel(Number(key) - 1);
    else if (key === "m" && this.review.surface === "areas") this.merge();
    else if (key === "Delete" || key === "Backspace") this.drop();
    else if (key === "[" || key === "]") this.setRadius(Math.max(0.5, Math.round(this.radius * (key === "[" ? 1.6 : 2.5)) / 2));
    else if (key === "." || key === ",") this.step(key === "." ? 1 : -1);
    else if (key === ">" || key === ":") this.stepMore();
    else if (key === "+" || key === "=") this.canvas.zoom(1.5, this.cursor ?? undefined);
    else if (key === "-") this.canvas.zoom(1 / 1.5, this.cursor ?? undefined);
    else if (key === "0") this.canvas.fit();
    else if (key === "h") this.canvas.showMarks((this.shown.marks = !this.shown.marks));
    else if (key === "o") this.canvas.showProposed((this.shown.proposed = !this.shown.proposed));
    else if (key === "Escape") this.giveUp() || this.choose([]);
    else return false;
    return true;
  }

  // Adds the next object to those that are chosen.
  private stepMore(): void {
    const { order } = this;
    const at = order.indexOf(this.chosen[this.chosen.length - 1] ?? "");
    const next = order.slice(at + 1).find((id) => !this.chosen.includes(id));
    if (next) this.choose([...this.chosen, next]);
  }

  private giveUp(): boolean {
    const begun = this.trail !== null;
    this.trail = null;
    this.canvas.setSketch([]);
    this.toolbox.abort();
    return begun;
  }

  private setCursor(place: XY | null): void {
    this.cursor = place;
    const round = this.tool === "brush" || this.tool === "erase";
    this.canvas.setCursor(place, round ? this.radius : 0);
  }

  // Keys of the map itself: the cursor and what is done at it.
  private moveCursor(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    const [height, width] = this.size;
    if (arrow) {
      event.preventDefault();
      const far = event.shiftKey ? 10 : 1;
      if (event.altKey) {
        this.nudge([arrow[0] * far, arrow[1] * far]);
        return;
      }
      const [x, y] = this.cursor ?? [Math.round(width / 2), Math.round(height / 2)];
      const to = (value: number, by: number, size: number) => Math.min(Math.max(value + by * far, 0), size - 1);
      const place: XY = [to(x, arrow[0], width), to(y, arrow[1], height)];
      this.setCursor(place);
      this.canvas.reveal(place);
      if (this.trail && this.tool !== "polygon" && this.tool !== "box") this.trail.push(place);
      if (this.trail) this.canvas.setSketch([...this.trail, place]);
      event.stopPropagation();
    } else if (event.key === " ") {
      event.preventDefault();
      event.stopPropagation();
      this.press(this.cursor ?? [Math.round(width / 2), Math.round(height / 2)]);
    } else if (event.key === "Enter" && this.trail && this.tool === "polygon") {
      event.preventDefault();
      event.stopPropagation();
      const points = this.trail;
      this.giveUp();
      this.draw("polygon", { points });
    }
  }

  // Uses the tool at the cursor.
  private press(place: XY): void {
    if (!this.cursor) this.setCursor(place);
    if (this.tool === "select") this.pick(place, false);
    else if (this.tool === "dot") this.add({ dot: place });
    else if (!this.trail) {
      this.trail = [place];
      this.say("begun; Space ends it, Escape gives it up");
    } else if (this.tool === "polygon") {
      this.trail.push(place);
      this.canvas.setSketch(this.trail);
      this.say(`${this.trail.length} corners; Enter closes the polygon`);
    } else {
      const points = this.trail;
      this.giveUp();
      if (this.tool === "box") this.add({ box: [...points[0], ...place] as Mark["box"] });
      else if (this.tool === "split") this.split(points);
      else this.stroke(points, this.tool === "erase");
    }
  }

  // Moves what is chosen, a dot or a box.
  private nudge(by: XY): void {
    const mark = this.marks.get(this.chosen[0] ?? "");
    if (mark && !mark.area) void this.send({ do: "move", mark: mark.id, to: shifted(mark, by, null) });
  }

  private describe(name: string): void {
    const count = this.marks.size;
    const objects = this.review.surface === "labels" ? "" : `, ${count} object${count === 1 ? "" : "s"}`;
    element("map").setAttribute("aria-label", `Image ${name}${objects}`);
    this.showLabel();
  }
}

function middleOf(mark: Mark): XY | null {
  if (mark.dot) return mark.dot;
  if (mark.box) return [(mark.box[0] + mark.box[2]) / 2, (mark.box[1] + mark.box[3]) / 2].map(Math.round) as XY;
  const ring = mark.area?.[0]?.[0];
  if (!ring) return null;
  const xs = ring.filter((_, k) => k % 2 === 0);
  const ys = ring.filter((_, k) => k % 2 === 1);
  const between = (values: number[]) => Math.round((Math.min(...values) + Math.max(...values)) / 2);
  return [between(xs), between(ys)];
}

function cornerAt(box: number[], place: XY, near: number): [number, number] | null {
  for (const column of [0, 2])
    for (const row of [1, 3])
      if (Math.hypot(box[column] - place[0], box[row] - place[1]) < near) return [column, row];
  return null;
}

function shifted(mark: Mark, by: XY, corner: [number, number] | null): Partial<Mark> {
  if (mark.dot) return { dot: [mark.dot[0] + by[0], mark.dot[1] + by[1]] };
  const box = [...(mark.box as number[])];
  for (const k of corner ?? [0, 1, 2, 3]) box[k] += by[k % 2];
  return { box: box as Mark["box"] };
}
