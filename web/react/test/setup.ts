import { configure } from '@testing-library/react';

// A client that lost its stream waits at random, for a second at most, before it comes back.
configure({ asyncUtilTimeout: 10_000 });
