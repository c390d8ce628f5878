#include "runtime/decoding_share.hpp"

#include "base/error.hpp"

namespace collie {
namespace {

int replica_of_sequence(int64_t number, int replicas) {
  return static_cast<int>(number % replicas);
}

void append_document(const MicroBatch& from, size_t document, MicroBatch& to) {
  const auto begin = from.document_starts[document], end = from.document_starts[document + 1];
  const auto append = [&](const std::vector<int32_t>& source, std::vector<int32_t>& target) {
    target.insert(target.end(), source.begin() + begin, source.begin() + end);
  };
  append(from.tokens, to.tokens);
  append(from.labels, to.labels);
  append(from.positions, to.positions);
  to.document_starts.push_back(static_cast<int32_t>(to.tokens.size()));
}

}  // namespace

Decoding share_of(const Decoding& whole, int replica, int replicas) {
  Decoding share;
  share.afresh = whole.afresh;
  for (const Decoding::Sequence& sequence : whole.next)
    if (replica_of_sequence(sequence.number, replicas) == replica) share.next.push_back(sequence);
  for (const int64_t ended : whole.ended)
    if (replica_of_sequence(ended, replicas) == replica) share.ended.push_back(ended);
  return share;
}

std::vector<std::shared_ptr<const StepBatch>> deal_sequences(const std::shared_ptr<const StepBatch>& batch,
                                                             const Decoding& decoding, int replicas) {
  if (replicas == 1) return {batch};
  const MicroBatch& whole = batch->micro_batches.at(0);
  COLLIE_ASSERT(batch->micro_batches.size() == 1 && whole.document_starts.size() == decoding.next.size() + 1,
                "{} micro-batches for {} sequences", batch->micro_batches.size(), decoding.next.size());
  std::vector<std::shared_ptr<StepBatch>> shares;
  for (int replica = 0; replica < replicas; ++replica) {
    StepBatch share = *batch;
    share.micro_batches = {empty_micro_batch()};
    shares.push_back(std::make_shared<StepBatch>(std::move(share)));
  }
  for (size_t i = 0; i < decoding.next.size(); ++i)
    append_document(whole, i,
                    shares[static_cast<size_t>(replica_of_sequence(decoding.next[i].number, replicas))]
                        ->micro_batches[0]);
  return {shares.begin(), shares.end()};
}

}  // namespace collie
