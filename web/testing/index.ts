export { type ScriptedRequest, ScriptedStream, scriptedStream } from './scripted.ts';
export { jobState, queueStats, testState } from './states.ts';
