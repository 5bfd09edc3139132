-- Of which trace an event is (W3C Trace Context), where its producer, or whoever took it, keeps one.

ALTER TABLE events ADD COLUMN traceparent text;
