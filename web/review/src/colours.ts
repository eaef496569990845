// One colour per class: Okabe and Ito's, which colour-blind people tell apart, then shades of them.

const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2"];

export function colourOf(index: number): string {
  return COLOURS[Math.max(0, index) % COLOURS.length];
}

export function faded(colour: string, alpha: number): string {
  const part = (at: number) => parseInt(colour.slice(at, at + 2), 16);
  return `rgba(${part(1)}, ${part(3)}, ${part(5)}, ${alpha})`;
}
