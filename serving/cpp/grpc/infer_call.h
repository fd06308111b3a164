// Calls of ModelInfer.
#pragma once

#include "grpc/shared.h"

namespace loopwright::serving::rpc {

// Waits for a call, answers it when it comes, and waits for the next one.
void accept_infer(Shared& shared, grpc::ServerCompletionQueue& queue);

}  // namespace loopwright::serving::rpc
