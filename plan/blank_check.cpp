#include "plan/blank_check.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "models/blanks.hpp"

namespace collie {
namespace {

void check_that_documents_stay_whole(const SequenceOrder& order, const Config& config) {
  constexpr const char* need =
      "a document of this model (model_type chatglm with position_encoding_2d) must be whole: its context "
      "and "
      "its answer belong together";
  if (order.settings().packing == Packing::stream)
    throw UserError("{}: {} cuts the documents of {} into windows, but {}; samples or false is right",
                    config.file.place("data.packing"), config.data.packing, order.dataset().name(), need);
  if (order.cut_documents() > 0)
    throw UserError(
        "{}: {} documents are longer than data.sequence_length, {}, and would be cut, but {}; "
        "a larger data.sequence_length is right, or, for data.train, data.too_long: drop",
        order.dataset().name(), order.cut_documents(), order.settings().sequence_length, need);
}

// Where the first target is that stands in the context, behind the first token, which is predicted by none.
std::optional<int64_t> target_in_context(const DocumentView& document, const Blank& blank) {
  for (const TokenSpan& span : document.targets)
    if (const int64_t first = std::max(span.begin, 1); first < span.end && first < blank.context)
      return first;
  return std::nullopt;
}

// Calls visit(document, its number in its source, the source's path) for those that are read.
template <class Visit>
void for_each_document(const SequenceOrder& order, const Visit& visit) {
  const Dataset& data = order.dataset();
  int64_t number = 0;
  for (size_t s = 0; s < data.sources().size(); ++s)
    for (int64_t i = 0; i < data.sources()[s].documents; ++i, ++number) {
      const int64_t pairs = data.document(number).pairs();
      if (pairs > 0 && order.uses(s) && !order.drops(pairs)) visit(number, i, data.sources()[s].path);
    }
}

}  // namespace

void check_blanks(const BlankTokens& tokens, const SequenceOrder& order, const Config& config) {
  if (!tokens.exist()) return;
  check_that_documents_stay_whole(order, config);
  const Dataset& data = order.dataset();
  std::vector<int32_t> inputs;
  for_each_document(order, [&](int64_t document, int64_t number, const std::string& path) {
    const DocumentView view = data.document(document);
    inputs.resize(static_cast<size_t>(view.pairs()));
    data.read_tokens(document, 0, inputs);
    const std::optional<Blank> blank = find_blank(tokens, inputs);
    if (!blank)
      throw UserError("{}: document {} (from 0) of '{}', of {} tokens, has no blank to fill in; {}",
                      data.name(), number, path, view.tokens.size(), right_blank(tokens));
    if (const auto target = target_in_context(view, *blank))
      throw UserError(
          "{}: document {} (from 0) of '{}': its token {} is a target, but the first {} are the context, "
          "whose tokens see each other; targets from token {} on are right, as a prompt and a completion, or "
          "labels, have them",
          data.name(), number, path, *target, blank->context, blank->context);
  });
}

void check_blank_of_prompt(const BlankTokens& tokens, std::span<const int32_t> prompt) {
  if (tokens.exist() && !find_blank(tokens, prompt))
    throw UserError("--prompt: has no blank to fill in; {}", right_blank(tokens));
}

}  // namespace collie
