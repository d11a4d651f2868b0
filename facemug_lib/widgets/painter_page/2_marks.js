// -- marking pixels -----------------------------------------------------------------------------------------------------------

class Box {
  constructor() {
    this.left = this.top = SIZE;
    this.right = this.bottom = -1;
    this.marks = new Uint8Array(SIZE * SIZE);
  }

  add(x, y) {
    this.marks[y * SIZE + x] = 1;
    if (x < this.left) this.left = x;
    if (x > this.right) this.right = x;
    if (y < this.top) this.top = y;
    if (y > this.bottom) this.bottom = y;
  }

  get isEmpty() {
    return this.right < 0;
  }

  get list() {
    return [this.left, this.top, this.right - this.left + 1, this.bottom - this.top + 1];
  }
}

function put(values, value, x, y, box) {
  const at = (y * SIZE + x) * value.length;
  for (let i = 0; i < value.length; i++) values[at + i] = value[i];
  box.add(x, y);
}

// Every pixel whose centre lies within `radius` of the segment from `a` to `b`, in pixels.
function capsule(values, value, a, b, radius, box) {
  const reach = Math.max(radius, 0.5);
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const low = (i) => Math.max(0, Math.floor(Math.min(a[i], b[i]) - reach));
  const high = (i) => Math.min(SIZE - 1, Math.ceil(Math.max(a[i], b[i]) + reach));
  for (let y = low(1); y <= high(1); y++) {
    for (let x = low(0); x <= high(0); x++) {
      const [px, py] = [x + 0.5 - a[0], y + 0.5 - a[1]];
      const t = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      const [ex, ey] = [px - t * dx, py - t * dy];
      if (ex * ex + ey * ey <= reach * reach) put(values, value, x, y, box);
    }
  }
}

// The connected pixels around (x, y) that look the same; `look(index)` is compared.
function flood(values, value, x, y, look, box) {
  const wanted = look(y * SIZE + x);
  const seen = new Uint8Array(SIZE * SIZE);
  const queue = [y * SIZE + x];
  seen[queue[0]] = 1;
  while (queue.length) {
    const index = queue.pop();
    const [cx, cy] = [index % SIZE, Math.floor(index / SIZE)];
    const near = [cx > 0 && index - 1, cx < SIZE - 1 && index + 1, cy > 0 && index - SIZE, cy < SIZE - 1 && index + SIZE];
    for (const next of near) {
      if (next !== false && !seen[next] && look(next) === wanted) {
        seen[next] = 1;
        queue.push(next);
      }
    }
  }
  for (let index = 0; index < seen.length; index++) if (seen[index]) put(values, value, index % SIZE, Math.floor(index / SIZE), box);
}
