'use client';

import { useEffect } from 'react';
import { useJobRun } from 'runcast-client/react';

export function Run({ id }) {
  const { state, error } = useJobRun(id);
  useEffect(() => {
    window.effects = (window.effects ?? 0) + 1;
  }, []);
  return <p id="run">{error?.message ?? state?.status ?? 'loading'}</p>;
}
