export default function setup(): void {
  throw new Error('no server');
}
