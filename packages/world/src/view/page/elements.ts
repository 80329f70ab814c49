/** An element of the page. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** A choice. */
export function option(value: string, text: string): HTMLOptionElement {
  return new Option(text, value);
}

/** A picture with its name, and how to show RGB pixels in it. */
export function pictureFigure(
  name: string,
  parent: HTMLElement,
): (rgb: Uint8Array, width: number, height: number) => void {
  const canvas = document.createElement('canvas');
  const caption = document.createElement('figcaption');
  caption.textContent = name;
  caption.title = name;
  const figure = document.createElement('figure');
  figure.append(canvas, caption);
  parent.append(figure);
  const context = canvas.getContext('2d')!;
  return (rgb, width, height) => {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const image = context.createImageData(width, height);
    for (let pixel = 0; pixel < width * height; pixel++) {
      image.data[4 * pixel] = rgb[3 * pixel]!;
      image.data[4 * pixel + 1] = rgb[3 * pixel + 1]!;
      image.data[4 * pixel + 2] = rgb[3 * pixel + 2]!;
      image.data[4 * pixel + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  };
}
