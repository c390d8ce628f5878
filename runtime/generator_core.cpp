#include "runtime/generator_core.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "io/batch.hpp"

namespace collie {

GeneratorCore::GeneratorCore(std::vector<Prompt> prompts, std::vector<int32_t> stops, int64_t positions,
                             int64_t at_once)
    : stops_(std::move(stops)), at_once_(at_once) {
  COLLIE_ASSERT(!prompts.empty(), "there is no prompt");
  for (Prompt& prompt : prompts) {
    const auto length = static_cast<int64_t>(prompt.tokens.size());
    COLLIE_ASSERT(length > 0 && length < positions, "a prompt of {} tokens with {} positions", length,
                  positions);
    Text& text = texts_.emplace_back();
    text.pending = std::move(prompt.tokens);
    text.sampling = prompt.sampling;
    // The last token drawn is never fed, so it needs no position.
    text.max_new = std::min(prompt.max_new_tokens, positions - length + 1);
    text.capacity = length + std::max<int64_t>(text.max_new - 1, 0);
    text.finished = text.max_new <= 0;
  }
}

bool GeneratorCore::finished() const {
  return std::all_of(texts_.begin(), texts_.end(), [](const Text& text) { return text.finished; });
}

void GeneratorCore::end(size_t prompt) {
  Text& text = texts_.at(prompt);
  if (std::exchange(text.finished, true)) return;
  if (text.fed > 0) ended_.push_back(static_cast<int64_t>(prompt));
}

void GeneratorCore::append(const Text& text, MicroBatch& batch) {
  batch.tokens.insert(batch.tokens.end(), text.pending.begin(), text.pending.end());
  for (size_t i = 0; i < text.pending.size(); ++i)
    batch.positions.push_back(static_cast<int32_t>(text.fed) + static_cast<int32_t>(i));
  batch.labels.resize(batch.tokens.size(), -100);
  batch.document_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
}

void GeneratorCore::note_seen(Text& text) {
  if (text.sampling.repetition_penalty == 1) return;
  for (const int32_t token : text.pending) {
    const auto place = std::lower_bound(text.seen.begin(), text.seen.end(), token);
    if (place == text.seen.end() || *place != token) text.seen.insert(place, token);
  }
}

ProgramRequest GeneratorCore::next(Asker& asker) {
  COLLIE_ASSERT(!finished(), "all texts are finished");
  auto batch = std::make_shared<StepBatch>();
  MicroBatch& tokens = batch->micro_batches.emplace_back(empty_micro_batch());
  Decoding decoding;
  decoding.ended = std::exchange(ended_, {});
  decoding.afresh = std::exchange(is_first_, false);
  asked_.clear();
  // Texts begin in their order, so those that have begun come first.
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (at_once_ > 0 && static_cast<int64_t>(asked_.size()) == at_once_) break;
    Text& text = texts_[i];
    if (text.finished) continue;
    append(text, tokens);
    note_seen(text);
    decoding.next.push_back({static_cast<int64_t>(i), text.fed == 0 ? text.capacity : 0, text.sampling,
                             static_cast<uint64_t>(text.generated), text.seen});
    text.fed += static_cast<int64_t>(text.pending.size());
    asked_.push_back(i);
  }
  ProgramRequest request = asker.ask(generation_program, std::move(batch));
  request.decoding = std::move(decoding);
  return request;
}

std::vector<GeneratorCore::Drawn> GeneratorCore::add(const ProgramReply& reply) {
  const std::vector<DoubleBits>& tokens = values_of(reply, tokens_name);
  COLLIE_ASSERT(tokens.size() == asked_.size(), "{} tokens for {} texts", tokens.size(), asked_.size());
  std::vector<Drawn> drawn;
  for (size_t i = 0; i < asked_.size(); ++i) {
    const auto token = static_cast<int32_t>(tokens[i]);
    Text& text = texts_[asked_[i]];
    const bool stops = std::find(stops_.begin(), stops_.end(), token) != stops_.end();
    if (!stops) drawn.push_back({asked_[i], token});
    text.pending = {token};
    text.finished = stops || ++text.generated >= text.max_new;
    if (text.finished) ended_.push_back(static_cast<int64_t>(asked_[i]));
  }
  return drawn;
}

}  // namespace collie
