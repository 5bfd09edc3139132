import { test } from 'vitest';

test('goes before', () => {});

test('kills its worker', () => {
  process.kill(process.pid, 'SIGKILL');
});
