// What the server is asked and what it answers; src/transect/review/server.py is the other side.

export interface Mark {
  id: string;
  label: string;
  area?: number[][][]; // parts, rings, then x, y, x, y, ...
  dot?: [number, number];
  box?: [number, number, number, number];
}

export interface Proposed extends Mark {
  confidence: number | null;
  example: Example | null;
}

// Up to two photos of an individual, so that one is another than the photo in question.
export interface Example {
  photos: number;
  shown: { image: string; box: number[] | null }[];
}

export interface ImageRow {
  name: string;
  size: [number, number];
  why: string;
  accepted: boolean;
  corrected: boolean;
  labelled: boolean;
}

export type Surface = "areas" | "places" | "individuals" | "labels";

export interface Undoable {
  undo: string;
  redo: string;
}

export interface Review extends Undoable {
  survey: string;
  who: string;
  surface: Surface;
  several: boolean;
  classes: string[];
  unknown: string;
  boxes: boolean;
  run: boolean;
  images: ImageRow[];
  known: Proposed[]; // individuals, each with a photo
}

export interface Opened {
  name: string;
  size: [number, number];
  marks: Mark[];
  accepted: boolean;
  proposed: Proposed[];
}

export interface Done extends Undoable {
  images: Record<string, { marks: Mark[]; ids: string[]; accepted: boolean; corrected: boolean }>;
}

export interface Agreement {
  people: { who: string; images: number; measures: Record<string, number> }[];
  words: Record<string, string>;
}

async function answered<T>(response: Response): Promise<T> {
  const body = await response.json().catch(() => ({ error: `the server says ${response.status}` }));
  if (!response.ok) throw new Error(body.error);
  return body as T;
}

function address(path: string, query: Record<string, string> = {}): string {
  const words = new URLSearchParams(query).toString();
  return words ? `${path}?${words}` : path;
}

async function get<T>(path: string, query: Record<string, string> = {}): Promise<T> {
  return answered<T>(await fetch(address(path, query)));
}

export const review = () => get<Review>("api/review");
export const agreement = () => get<Agreement>("api/agreement");
export const image = (name: string) => get<Opened>("api/image", { name });

export async function command(asked: Record<string, unknown>): Promise<Done> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(asked);
  return answered<Done>(await fetch("api/do", { method: "POST", headers, body }));
}

export function tile(name: string, z: number, x: number, y: number): string {
  return address(`tile/${z}/${x}/${y}`, { name });
}

export function crop(name: string, box: number[] | null | undefined, longest: number): string {
  const query: Record<string, string> = { name, longest: String(longest) };
  if (box) query.box = box.join(",");
  return address("crop", query);
}

export function matches(
  name: string,
  box: number[] | null | undefined,
  other: string,
  otherBox: number[] | null | undefined,
): Promise<{ lines: [number, number, number, number][] }> {
  const query: Record<string, string> = { name, other };
  if (box) query.box = box.join(",");
  if (otherBox) query.other_box = otherBox.join(",");
  return get("api/matches", query);
}
