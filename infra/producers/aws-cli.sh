#!/usr/bin/env bash
# Sends the updates of a file, {"updates":[…]}, to Runcast's worker; prints what became of each.
# RUNCAST_URL names a local stack (`runcast up`); on AWS leave it out.
#
# Through its SQS FIFO queue instead, one update at a time:
#   aws sqs send-message --queue-url "$QUEUE_URL" --message-body "$update" \
#     --message-group-id "$kind:$id" --message-deduplication-id "$event_id"
# The group of a test that names its run is "job:$run_id": they keep their order.
set -euo pipefail

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
error=$(aws lambda invoke ${RUNCAST_URL:+--endpoint-url "$RUNCAST_URL"} \
  --function-name "${RUNCAST_WORKER:-worker}" --payload "fileb://$1" \
  --query FunctionError --output text "$answer")
cat "$answer"
# Where the function failed, nothing was committed: send the same file again.
[ "$error" = None ]
