import { test } from 'vitest';
import './missing.js';

test('is never known', () => {});
