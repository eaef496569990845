// The pointer's tools: each one is an interaction of the map that ends in a command.

import { type EventsKey } from "ol/events";
import Feature from "ol/Feature";
import { type Geometry, LineString, Point, Polygon } from "ol/geom";
import Draw, { createBox } from "ol/interaction/Draw";
import type Interaction from "ol/interaction/Interaction";
import PointerInteraction from "ol/interaction/Pointer";
import { unByKey } from "ol/Observable";
import Circle from "ol/style/Circle";
import Fill from "ol/style/Fill";
import Stroke from "ol/style/Stroke";
import Style from "ol/style/Style";

import { type Canvas, toImage, toMap, type XY } from "./canvas";

export type Tool = "select" | "brush" | "erase" | "polygon" | "split" | "dot" | "box";

export interface Hands {
  radius: () => number;
  stroke: (points: XY[], erase: boolean) => void;
  polygon: (points: XY[]) => void;
  split: (points: XY[]) => void;
  dot: (place: XY) => void;
  box: (box: [number, number, number, number]) => void;
  pick: (place: XY, more: boolean) => void;
  grab: (place: XY) => ((to: XY, done: boolean) => void) | null;
}

// Draws a stroke as wide as the brush is on the image.
function brushStyle(canvas: Canvas, hands: Hands, erase: boolean): () => Style {
  return () => {
    const width = (2 * hands.radius()) / (canvas.map.getView().getResolution() ?? 1);
    const color = erase ? "rgba(255, 80, 80, .5)" : "rgba(255, 255, 255, .5)";
    const line = new Stroke({ color: erase ? "#f55" : "#fff", width: 1.5 });
    return new Style({
      stroke: new Stroke({ color, width: Math.max(1, width), lineCap: "round", lineJoin: "round" }),
      image: new Circle({ radius: Math.max(1, width / 2), stroke: line, fill: new Fill({ color }) }),
    });
  };
}

function drawing(tool: Tool, canvas: Canvas, hands: Hands): Interaction {
  const places = (coordinates: number[][]) => coordinates.map(toImage);
  if (tool === "box") {
    const draw = new Draw({ type: "Circle", geometryFunction: createBox(), freehand: true });
    draw.on("drawend", ({ feature }) => {
      const ring = places((feature.getGeometry() as Polygon).getCoordinates()[0]);
      const xs = ring.map(([x]) => x);
      const ys = ring.map(([, y]) => y);
      hands.box([Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]);
    });
    return draw;
  }
  if (tool === "polygon") {
    const draw = new Draw({ type: "Polygon" });
    draw.on("drawend", ({ feature }) =>
      hands.polygon(places((feature.getGeometry() as Polygon).getCoordinates()[0])),
    );
    return draw;
  }
  if (tool === "split") {
    const draw = new Draw({ type: "LineString", freehand: true });
    draw.on("drawend", ({ feature }) =>
      hands.split(places((feature.getGeometry() as LineString).getCoordinates())),
    );
    return draw;
  }
  return new Brush(canvas, hands, tool === "erase");
}

// A freehand stroke, or a single dab; under the pointer it shows how wide it will be.
class Brush extends PointerInteraction {
  private points: XY[] = [];
  private readonly seen = new Feature<Geometry>();

  constructor(private readonly canvas: Canvas, hands: Hands, erase: boolean) {
    super({
      handleDownEvent: (event) => {
        const { buttons } = event.originalEvent as PointerEvent;
        if (buttons !== 1 || this.targetPointers.length > 1) return false;
        this.points = [toImage(event.coordinate)];
        return true;
      },
      handleDragEvent: (event) => {
        this.points.push(toImage(event.coordinate));
        this.seen.setGeometry(new LineString(this.points.map(toMap)));
      },
      handleMoveEvent: (event) => this.seen.setGeometry(new Point(event.coordinate)),
      handleUpEvent: () => {
        this.seen.setGeometry(undefined);
        hands.stroke(this.points, erase);
        return false;
      },
    });
    this.seen.setStyle(brushStyle(canvas, hands, erase));
  }

  override setMap(map: Parameters<PointerInteraction["setMap"]>[0]): void {
    super.setMap(map);
    const { sketch } = this.canvas;
    if (map) sketch.addFeature(this.seen);
    else if (sketch.hasFeature(this.seen)) sketch.removeFeature(this.seen);
  }
}

// Moves a dot or a box, or a corner of a box; elsewhere the image is dragged.
class Grab extends PointerInteraction {
  private move: ((to: XY, done: boolean) => void) | null = null;

  constructor(hands: Hands) {
    super({
      handleDownEvent: (event) => {
        if (this.targetPointers.length > 1) return false;
        this.move = hands.grab(toImage(event.coordinate));
        return this.move !== null;
      },
      handleDragEvent: (event) => this.move?.(toImage(event.coordinate), false),
      handleUpEvent: (event) => {
        this.move?.(toImage(event.coordinate), true);
        return false;
      },
    });
  }
}

// Hands the pointer to one tool at a time.
export class Toolbox {
  private interaction: Interaction | null = null;
  private click: EventsKey | null = null;

  constructor(private readonly canvas: Canvas, private readonly hands: Hands) {}

  take(tool: Tool): void {
    const { map } = this.canvas;
    if (this.interaction) map.removeInteraction(this.interaction);
    if (this.click) unByKey(this.click);
    this.interaction = null;
    this.click = null;
    if (tool === "select" || tool === "dot") {
      this.interaction = new Grab(this.hands);
      this.click = map.on("singleclick", (event) => {
        const place = toImage(event.coordinate);
        if (tool === "dot") this.hands.dot(place);
        else this.hands.pick(place, (event.originalEvent as MouseEvent).shiftKey);
      });
    } else {
      this.interaction = drawing(tool, this.canvas, this.hands);
    }
    map.addInteraction(this.interaction);
  }

  abort(): void {
    if (this.interaction instanceof Draw) this.interaction.abortDrawing();
  }
}
