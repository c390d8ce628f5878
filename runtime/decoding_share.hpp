// How replicas share the sequences of a decoding program. A sequence stays with its replica, which holds its
// keys and values.
#pragma once

#include <memory>
#include <vector>

#include "runtime/program.hpp"

namespace collie {

// What replica `replica` of `replicas` has of the sequences: those whose number leaves `replica` when it is
// divided by `replicas`.
Decoding share_of(const Decoding& whole, int replica, int replicas);

// [replicas]: the documents of the one micro-batch of `batch` that belong to each replica's sequences, in
// their order. A replica that has none gets an empty micro-batch: with ZeRO-3 all replicas gather weights
// together, whoever needs them.
std::vector<std::shared_ptr<const StepBatch>> deal_sequences(const std::shared_ptr<const StepBatch>& batch,
                                                             const Decoding& decoding, int replicas);

}  // namespace collie
