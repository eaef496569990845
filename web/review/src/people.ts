// Who is on a photo: beside it one candidate after another, and the places that the two share.

import { crop, type Example, type Mark, matches, type Opened, type Proposed } from "./api";
import { ask, element, make } from "./page";

type Send = (asked: Record<string, unknown>) => Promise<unknown>;

const SVG = "http://www.w3.org/2000/svg";
const MOST = 40; // candidates that are shown

interface Known {
  label: string;
  confidence: number | null;
  example: Example;
}

interface Candidate {
  label: string;
  confidence: number | null;
  photos: number;
  image: string;
  box: number[] | null;
}

// An individual by a photo that is not the one in question; none if there is no other.
function beside({ label, confidence, example }: Known, name: string): Candidate[] {
  const photo = example.shown.find(({ image }) => image !== name);
  return photo ? [{ label, confidence, photos: example.photos, ...photo }] : [];
}

export class People {
  private opened: Opened | null = null;
  private marks: Mark[] = [];
  private at = 0; // which of the animals on the photo
  private candidates: Candidate[] = [];
  private chosen = 0;
  private lines = true;
  private readonly photo = make("img", { alt: "" });
  private readonly other = make("img", { alt: "" });
  private readonly caption = make("figcaption");
  private readonly otherCaption = make("figcaption");
  private readonly svg = document.createElementNS(SVG, "svg");
  private readonly strip = make("div", { class: "candidates", role: "group", "aria-label": "Candidates" });
  private readonly name = make("input", {
    type: "text",
    list: "names",
    placeholder: "Another: type a name",
    "aria-label": "Another individual, by name",
  });
  private readonly names = make("datalist", { id: "names" });
  private readonly known = new Map<string, Known>();

  constructor(
    private readonly send: Send,
    private readonly say: (text: string) => void,
    private readonly onwards: () => void,
  ) {
    element("pair").hidden = false;
    element("map").hidden = true;
    const bar = element("pair").closest("main")?.querySelector(".bar");
    if (bar instanceof HTMLElement) bar.hidden = true;
    this.svg.setAttribute("aria-hidden", "true");
    const photos = make("div", { class: "photos" },
      make("figure", {}, this.caption, this.photo), make("figure", {}, this.otherCaption, this.other));
    photos.append(this.svg);
    const act = (text: string, key: string, what: () => void, main = false) => {
      const button = make("button", { "aria-keyshortcuts": key, class: main ? "main" : null }, text, " ", make("kbd", {}, key));
      button.addEventListener("click", what);
      return button;
    };
    this.name.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !this.name.value.trim()) return;
      event.preventDefault();
      this.say(`called ${this.name.value.trim()}`);
      this.call(this.name.value.trim());
      this.name.value = "";
    });
    const who = make("div", { class: "who" },
      act("Same individual", "C", () => this.confirm(), true),
      act("New", "N", () => void this.anew()),
      act("Cannot tell", "U", () => this.call("")),
      this.name,
      act("Unite the two", "G", () => void this.unite()),
      act("Lines", "L", () => this.toggle()));
    element("pair").append(photos, this.strip, who, this.names);
    for (const image of [this.photo, this.other]) image.addEventListener("load", () => void this.join());
    new ResizeObserver(() => this.draw()).observe(photos);
  }

  open(opened: Opened): void {
    this.opened = opened;
    this.at = 0;
    this.update(opened.name, opened.marks, opened.marks.map((mark) => mark.id));
  }

  update(name: string, marks: Mark[], ids: string[]): void {
    if (!this.opened || name !== this.opened.name) return;
    const all = new Map([...this.marks, ...marks].map((mark) => [mark.id, mark]));
    this.marks = ids.map((id) => all.get(id)).filter((mark): mark is Mark => mark !== undefined);
    this.show();
  }

  // The individuals that the page has heard of, to choose among by name.
  learn(individuals: Proposed[]): void {
    for (const { label, confidence, example } of individuals)
      if (example && !this.known.has(label)) this.known.set(label, { label, confidence, example });
    this.names.replaceChildren(...[...this.known.keys()].sort().map((value) => make("option", { value })));
  }

  private get mark(): Mark | undefined {
    return this.marks[this.at];
  }

  private show(): void {
    const opened = this.opened as Opened;
    const { mark } = this;
    this.photo.src = crop(opened.name, mark?.box, 1200);
    const animal = this.marks.length > 1 ? ` (${this.at + 1} of ${this.marks.length} animals)` : "";
    const called = !mark ? "nobody named yet" : mark.label === "" ? "cannot tell" : `called ${mark.label}`;
    this.photo.alt = `${opened.name}${animal}`;
    this.caption.textContent = `${opened.name}${animal}: ${called}`;
    const proposed = opened.proposed.filter((one): one is Proposed & Known => one.example !== null);
    const named = new Set(proposed.map((one) => one.label));
    const others = [...this.known.values()].filter((one) => !named.has(one.label));
    const own = (one: Known) => Number(one.label === mark?.label);
    others.sort((a, b) => own(b) - own(a));
    this.candidates = [...proposed, ...others].flatMap((one) => beside(one, opened.name)).slice(0, MOST);
    const items = this.candidates.map((one, k) => {
      const said = one.confidence === null ? "" : `${Math.round(100 * one.confidence)} % · `;
      const photos = `${one.photos} photo${one.photos === 1 ? "" : "s"}`;
      const button = make("button", { "aria-pressed": "false" },
        make("img", { src: crop(one.image, one.box, 160), alt: "", loading: "lazy" }),
        make("span", {}, one.label),
        make("span", { class: "state" }, `${said}${photos}`));
      button.addEventListener("click", () => this.choose(k));
      return button;
    });
    this.strip.replaceChildren(...items);
    this.choose(0);
  }

  private choose(k: number): void {
    this.chosen = Math.min(Math.max(k, 0), this.candidates.length - 1);
    const one = this.candidates[this.chosen];
    [...this.strip.children].forEach((item, at) => item.setAttribute("aria-pressed", String(at === this.chosen)));
    this.strip.children[this.chosen]?.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.svg.replaceChildren();
    if (!one) {
      this.other.removeAttribute("src");
      this.otherCaption.textContent = "No candidate: type a name, or say that it is new.";
      return;
    }
    this.other.src = crop(one.image, one.box, 1200);
    this.other.alt = `${one.label} on ${one.image}`;
    const said = one.confidence === null ? "" : `, ${Math.round(100 * one.confidence)} %`;
    this.otherCaption.textContent = `${one.label}${said} (${one.image})`;
  }

  // --- lines

  private found: [number, number, number, number][] = [];

  private async join(): Promise<void> {
    const { opened, mark } = this;
    const one = this.candidates[this.chosen];
    this.found = [];
    this.draw();
    if (!this.lines || !opened || !one) return;
    const { lines } = await matches(opened.name, mark?.box, one.image, one.box);
    if (this.opened === opened && this.candidates[this.chosen] === one) {
      this.found = lines;
      this.draw();
    }
  }

  private draw(): void {
    const ground = this.svg.getBoundingClientRect();
    const inside = (image: HTMLImageElement, x: number, y: number): [number, number] => {
      const box = image.getBoundingClientRect();
      const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
      const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
      return [
        box.left - ground.left + (box.width - width) / 2 + x * width,
        box.top - ground.top + (box.height - height) / 2 + y * height,
      ];
    };
    const shapes = (this.lines ? this.found : []).flatMap(([x0, y0, x1, y1]) => {
      const ends = [inside(this.photo, x0, y0), inside(this.other, x1, y1)];
      const line = document.createElementNS(SVG, "line");
      const at = { x1: ends[0][0], y1: ends[0][1], x2: ends[1][0], y2: ends[1][1] };
      for (const [key, value] of Object.entries(at)) line.setAttribute(key, value.toFixed(1));
      const dots = ends.map(([cx, cy]) => {
        const dot = document.createElementNS(SVG, "circle");
        for (const [key, value] of Object.entries({ cx, cy, r: 3 })) dot.setAttribute(key, String(value));
        return dot;
      });
      return [line, ...dots];
    });
    this.svg.replaceChildren(...shapes);
  }

  private toggle(): void {
    this.lines = !this.lines;
    this.say(this.lines ? "lines shown" : "lines hidden");
    if (this.lines && !this.found.length) void this.join();
    this.draw();
  }

  // --- answers

  private confirm(): void {
    const one = this.candidates[this.chosen];
    if (one) this.call(one.label);
    else this.say("there is no candidate; type a name, or say that it is new");
  }

  private async anew(): Promise<void> {
    let number = 1;
    while (this.known.has(`new-${number}`)) number += 1;
    const input = make("input", { type: "text", value: `new-${number}`, required: true, "aria-label": "Name" });
    const name = await ask("A new individual", [input], "Call it so");
    if (name) this.call(name);
  }

  // Gives the animal a name; with the last one on a photo the photo is accepted.
  private call(label: string): void {
    const { mark } = this;
    const last = this.at >= this.marks.length - 1;
    const asked = mark
      ? { do: "relabel", marks: [mark.id], label }
      : { do: "add", mark: { label } };
    if (label && this.opened)
      this.learn([{ id: "", label, confidence: null, example: { photos: 1, shown: [{ image: this.opened.name, box: mark?.box ?? null }] } }]);
    void this.send({ ...asked, accept: last }).then((done) => {
      if (!done) return;
      if (last) this.onwards();
      else {
        this.at += 1;
        this.show();
      }
    });
  }

  private async unite(): Promise<void> {
    const gone = this.mark?.label;
    const kept = this.candidates[this.chosen]?.label;
    if (!gone || !kept || gone === kept) {
      this.say("uniting needs a photo with a name and a candidate of another name");
      return;
    }
    const text = make("p", {}, `Every photo of ${gone} will be called ${kept}. Undo takes it back.`);
    if (await ask(`${gone} and ${kept} are one individual?`, [text], "Unite")) await this.send({ do: "unite", gone, kept });
  }

  key(event: KeyboardEvent): boolean {
    const key = event.key.toLowerCase();
    if (key === "c") this.confirm();
    else if (key === "n") void this.anew();
    else if (key === "u") this.call("");
    else if (key === "g") void this.unite();
    else if (key === "l") this.toggle();
    else if (key === "a") this.name.focus();
    else if (key === "arrowright" || key === "arrowdown") this.choose(this.chosen + 1);
    else if (key === "arrowleft" || key === "arrowup") this.choose(this.chosen - 1);
    else if (/^[1-9]$/.test(key)) this.choose(Number(key) - 1);
    else if (key === "." || key === ",") {
      this.at = (this.at + (key === "." ? 1 : this.marks.length - 1)) % Math.max(1, this.marks.length);
      this.show();
    } else return false;
    return true;
  }
}
