#include "models/blanks.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace collie {

std::optional<Blank> find_blank(const BlankTokens& tokens, std::span<const int32_t> document) {
  const auto start = std::find(document.begin(), document.end(), tokens.start);
  if (start == document.end()) return std::nullopt;
  for (const int32_t blank : {tokens.gmask, tokens.mask})
    if (const auto found = std::find(document.begin(), start, blank); found != start)
      return Blank{start - document.begin(), found - document.begin()};
  return std::nullopt;
}

std::string right_blank(const BlankTokens& tokens) {
  return fmt::format(
      "the model needs a blank, token {} (gmask_token_id) or {} (mask_token_id), and behind it the token "
      "with "
      "which the answer starts, {} (bos_token_id)",
      tokens.gmask, tokens.mask, tokens.start);
}

void BlankPlaces::add(const Blank& blank, int64_t before, int64_t tokens) {
  contexts.push_back(before == 0 ? static_cast<int32_t>(std::min(blank.context, tokens)) : 0);
  for (int64_t token = before; token < before + tokens; ++token) {
    const bool in_context = token < blank.context;
    first.push_back(static_cast<int32_t>(in_context ? token : blank.position));
    second.push_back(static_cast<int32_t>(in_context ? 0 : token - blank.context + 1));
  }
}

BlankPlaces places_around_blanks(const BlankTokens& tokens, const MicroBatch& batch) {
  BlankPlaces places;
  for (size_t i = 0; i + 1 < batch.document_starts.size(); ++i) {
    const auto begin = static_cast<size_t>(batch.document_starts[i]),
               count = static_cast<size_t>(batch.document_starts[i + 1]) - begin;
    if (count == 0) {
      places.contexts.push_back(0);
      continue;
    }
    const std::optional<Blank> blank = find_blank(tokens, std::span(batch.tokens).subspan(begin, count));
    if (!blank)
      throw RunError("document {} of a micro-batch has no blank to fill in; {}", i, right_blank(tokens));
    places.add(*blank, 0, static_cast<int64_t>(count));
  }
  return places;
}

}  // namespace collie
