import { test } from '@playwright/test';

test('goes before', () => {});

test('kills its worker', () => {
  process.kill(process.pid, 'SIGKILL');
});

test('comes after', () => {});
