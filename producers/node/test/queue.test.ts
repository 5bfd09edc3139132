import { expect, test } from 'vitest';
import { Queue } from '../src/queue.ts';

test('where there is no room, the oldest of those go after which more is said', () => {
  const queue = new Queue(10);
  for (let index = 0; index < 6; index++) {
    queue.push(`running ${index}`, true);
    queue.push(`passed ${index}`, false);
  }
  const left = queue.takeAll();
  expect(queue.dropped).toBe(2);
  expect(left.slice(0, 3)).toEqual(['passed 0', 'passed 1', 'running 2']);
  expect(left.filter((text) => text.startsWith('passed'))).toHaveLength(6);
});

test('where only ends are left, the oldest of them go', () => {
  const queue = new Queue(10);
  for (let index = 0; index < 25; index++) queue.push(`passed ${index}`, false);
  expect(queue.size).toBeGreaterThanOrEqual(9);
  expect(queue.takeAll()[0]).toBe(`passed ${queue.dropped}`);
});

test('it holds no more characters than it may', () => {
  const queue = new Queue(1_000_000, 10_000);
  for (let index = 0; index < 1000; index++) queue.push('x'.repeat(99), index % 2 === 0);
  expect(queue.size).toBeLessThanOrEqual(101);
  expect(queue.size + queue.dropped).toBe(1000);
});

test('a request takes 1,000 updates, or 2 MB of them, and always one', () => {
  const queue = new Queue();
  for (let index = 0; index < 1500; index++) queue.push('x', false);
  expect([queue.take().length, queue.take().length, queue.take().length]).toEqual([1000, 500, 0]);
  queue.push('x'.repeat(3_000_000), false);
  queue.push('x'.repeat(1_500_000), false);
  queue.push('x'.repeat(1_500_000), false);
  expect([queue.take().length, queue.take().length, queue.take().length]).toEqual([1, 1, 1]);
});
