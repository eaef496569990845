// The image and its marks on a map: tiles below, outlines, dots and boxes above, a cursor on top.
// Positions are the survey's: x right, y down, pixel centres at integers.

import Feature from "ol/Feature";
import OlMap from "ol/Map";
import View from "ol/View";
import { type Coordinate } from "ol/coordinate";
import { type Geometry, LineString, MultiPolygon, Point, Polygon } from "ol/geom";
import { defaults } from "ol/interaction/defaults";
import TileLayer from "ol/layer/Tile";
import VectorLayer from "ol/layer/Vector";
import VectorImageLayer from "ol/layer/VectorImage";
import { Projection } from "ol/proj";
import TileImage from "ol/source/TileImage";
import VectorSource from "ol/source/Vector";
import CircleStyle from "ol/style/Circle";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";
import TileGrid from "ol/tilegrid/TileGrid";

import { type Mark, tile } from "./api";
import { colourOf, faded } from "./colours";

const TILE = 256;
const MANY = 2000; // marks beyond which zooming moves a picture of them, drawn anew when it ends

export type XY = [number, number];

export const toMap = ([x, y]: readonly number[]): Coordinate => [x + 0.5, -y - 0.5];
export const toImage = ([x, y]: readonly number[]): XY => [x - 0.5, -y - 0.5];

function geometryOf(mark: Mark): Geometry | null {
  if (mark.dot) return new Point(toMap(mark.dot));
  if (mark.box) {
    const [x0, y0, x1, y1] = mark.box;
    return new Polygon([[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]].map(toMap)]);
  }
  if (!mark.area) return null;
  const flat: number[] = [];
  const ends = mark.area.map((part) =>
    part.map((ring) => {
      for (let k = 0; k < ring.length; k += 2) flat.push(ring[k] + 0.5, -ring[k + 1] - 0.5);
      flat.push(ring[0] + 0.5, -ring[1] - 0.5);
      return flat.length;
    }),
  );
  return new MultiPolygon(flat, "XY", ends);
}

export class Canvas {
  readonly map: OlMap;
  readonly sketch = new VectorSource<Feature<Geometry>>();
  private readonly line = new Feature<Geometry>();
  private readonly marks = new VectorSource<Feature<Geometry>>();
  private readonly proposed = new VectorSource<Feature<Geometry>>();
  private readonly cursor = new Feature<Geometry>();
  private readonly drawn: VectorLayer;
  private readonly pictured: VectorImageLayer;
  private readonly proposedLayer: VectorLayer;
  private readonly styles = new Map<string, Style[]>();
  private selected = new Set<string>();
  private many = false;
  private shown = true;
  private size: [number, number] = [1, 1];

  constructor(target: HTMLElement, private readonly classes: string[]) {
    const source = this.marks;
    const ofMark = (feature: unknown) => this.styleOf(feature as Feature<Geometry>);
    this.drawn = new VectorLayer({ source, style: ofMark, renderBuffer: 32 });
    this.pictured = new VectorImageLayer({ source, style: ofMark, renderBuffer: 32, imageRatio: 1.5 });
    const dashed = new Stroke({ color: "#fff", width: 2, lineDash: [6, 5] });
    const under = new Stroke({ color: "#000", width: 3, lineDash: [6, 5] });
    const dot = (stroke: Stroke) => new CircleStyle({ radius: 8, stroke });
    this.proposedLayer = new VectorLayer({
      source: this.proposed,
      style: [under, dashed].map((stroke) => new Style({ stroke, image: dot(stroke) })),
    });
    const line = [
      new Style({ stroke: new Stroke({ color: "#000", width: 3 }) }),
      new Style({ stroke: new Stroke({ color: "#fff", width: 1 }) }),
    ];
    this.map = new OlMap({
      target,
      controls: [],
      interactions: defaults({ doubleClickZoom: false, keyboard: false, altShiftDragRotate: false,
        pinchRotate: false, shiftDragZoom: false }),
      layers: [
        this.drawn,
        this.pictured,
        this.proposedLayer,
        new VectorLayer({ source: this.sketch, style: line }),
        new VectorLayer({ source: new VectorSource({ features: [this.cursor, this.line] }), style: line }),
      ],
    });
  }

  // Shows an image; what was drawn on the one before goes.
  show(name: string, size: [number, number], marks: Mark[], proposed: Mark[]): void {
    this.size = size;
    const [height, width] = size;
    const extent = [0, -height, width, 0];
    const projection = new Projection({ code: "pixels", units: "pixels", extent });
    let levels = 1;
    for (let longest = Math.max(...size); longest > TILE; longest = (longest + 1) >> 1) levels += 1;
    const resolutions = [...Array(levels).keys()].map((z) => 2 ** (levels - 1 - z));
    const tileGrid = new TileGrid({ extent, origin: [0, 0], resolutions, tileSize: TILE });
    const source = (interpolate: boolean) =>
      new TileImage({
        projection,
        tileGrid,
        interpolate,
        transition: 0,
        tileUrlFunction: ([z, x, y]) => tile(name, z, x, y),
      });
    const layers = this.map.getLayers();
    while (layers.getLength() > 5) layers.removeAt(0);
    // Enlarged, pixels are squares; made smaller, they are mixed.
    layers.insertAt(0, new TileLayer({ extent, source: source(true), minResolution: 1 }));
    layers.insertAt(1, new TileLayer({ extent, source: source(false), maxResolution: 1 }));
    const margin = Math.max(width, height) / 2;
    this.map.setView(
      new View({
        projection,
        center: [width / 2, -height / 2],
        extent: [-margin, -height - margin, width + margin, margin],
        showFullExtent: true,
        constrainOnlyCenter: true,
        minResolution: 1 / 32,
        maxResolution: Math.max(width, height) / 64,
        resolution: 1,
      }),
    );
    this.fit();
    this.select([]);
    this.setSketch([]);
    this.setMarks(marks);
    const target = this.map.getTargetElement();
    target?.removeAttribute("data-shown");
    this.map.once("rendercomplete", () => target?.setAttribute("data-shown", name));
    this.proposed.clear();
    this.proposed.addFeatures(proposed.map((mark) => this.featureOf(mark)));
  }

  fit(): void {
    const [height, width] = this.size;
    this.map.updateSize();
    this.map.getView().fit([0, -height, width, 0], { padding: [12, 12, 12, 12] });
  }

  zoom(factor: number, at?: XY): void {
    const view = this.map.getView();
    view.adjustResolution(1 / factor, at && toMap(at));
  }

  setMarks(marks: Mark[]): void {
    this.many = marks.length > MANY;
    this.showMarks(this.shown);
    this.marks.clear(true);
    this.marks.addFeatures(marks.map((mark) => this.featureOf(mark)));
  }

  // Puts new or changed marks, and removes all whose ids are not among those that there are.
  update(marks: Mark[], ids: string[]): void {
    const there = new Set(ids);
    const gone = this.marks.getFeatures().filter((f) => !there.has(String(f.getId())));
    for (const feature of gone) this.marks.removeFeature(feature);
    for (const mark of marks) {
      const before = this.marks.getFeatureById(mark.id);
      if (before) this.marks.removeFeature(before as Feature<Geometry>);
      this.marks.addFeature(this.featureOf(mark));
    }
    this.select([...this.selected].filter((id) => there.has(id)));
  }

  select(ids: string[]): void {
    this.selected = new Set(ids);
    this.marks.changed();
  }

  // The marks at a place, the smallest first.
  at(place: XY): string[] {
    const pixel = this.map.getPixelFromCoordinate(toMap(place));
    const found: [number, string][] = [];
    this.map.forEachFeatureAtPixel(
      pixel,
      (feature) => {
        const geometry = feature.getGeometry() as Geometry;
        const area = "getArea" in geometry ? (geometry as MultiPolygon).getArea() : 0;
        found.push([area, String(feature.getId())]);
      },
      { hitTolerance: 6, layerFilter: (layer) => layer === this.drawn || layer === this.pictured },
    );
    return found.sort((a, b) => a[0] - b[0]).map(([, id]) => id);
  }

  // Brings a place into view, if it is not.
  reveal(place: XY): void {
    const view = this.map.getView();
    const [left, bottom, right, top] = view.calculateExtent(this.map.getSize());
    const [x, y] = toMap(place);
    if (x < left || x > right || y < bottom || y > top) view.setCenter([x, y]);
  }

  // Shows the keyboard's cursor, or hides it.
  setCursor(place: XY | null, radius: number): void {
    if (!place) {
      this.cursor.setGeometry(undefined);
      return;
    }
    const [x, y] = toMap(place);
    const arm = 14 * (this.map.getView().getResolution() ?? 1);
    const lines = [[[x - arm, y], [x + arm, y]], [[x, y - arm], [x, y + arm]]];
    const ring = [...Array(33).keys()].map((k) => [
      x + radius * Math.cos((k * Math.PI) / 16),
      y + radius * Math.sin((k * Math.PI) / 16),
    ]);
    const flat = (radius ? [...lines, ring] : lines).map((line) => [...line, ...line.slice().reverse()]);
    this.cursor.setGeometry(new MultiPolygon([flat]));
  }

  // Shows a line that is being drawn by the keyboard.
  setSketch(points: XY[]): void {
    this.line.setGeometry(points.length > 1 ? new LineString(points.map(toMap)) : undefined);
  }

  showMarks(shown: boolean): void {
    this.shown = shown;
    this.drawn.setVisible(shown && !this.many);
    this.pictured.setVisible(shown && this.many);
  }

  showProposed(shown: boolean): void {
    this.proposedLayer.setVisible(shown);
  }

  private featureOf(mark: Mark): Feature<Geometry> {
    const feature = new Feature<Geometry>(geometryOf(mark) ?? undefined);
    feature.setId(mark.id);
    feature.set("label", mark.label, true);
    return feature;
  }

  private styleOf(feature: Feature<Geometry>): Style[] {
    const label = feature.get("label") as string;
    const chosen = this.selected.has(String(feature.getId()));
    const key = `${label}/${chosen}`;
    let styles = this.styles.get(key);
    if (!styles) {
      const colour = colourOf(this.classes.indexOf(label));
      const fill = new Fill({ color: faded(colour, chosen ? 0.45 : 0.25) });
      const dot = new CircleStyle({
        radius: chosen ? 7 : 5,
        fill: new Fill({ color: colour }),
        stroke: new Stroke({ color: chosen ? "#fff" : "#000", width: chosen ? 3 : 1 }),
      });
      styles = [new Style({ fill, stroke: new Stroke({ color: colour, width: 2 }), image: dot })];
      if (chosen) {
        const stroke = (color: string, width: number) => new Style({ stroke: new Stroke({ color, width }) });
        styles.unshift(stroke("#000", 7), stroke("#fff", 5));
      }
      this.styles.set(key, styles);
    }
    return styles;
  }
}
