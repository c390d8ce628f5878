#include "io/document_maker.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie {

namespace {

// The beginning of the first character at `position` or behind it.
size_t whole_character(std::string_view text, size_t position) {
  while (position < text.size() && (static_cast<unsigned char>(text[position]) & 0xC0u) == 0x80u) ++position;
  return position;
}

}  // namespace

DocumentMaker::DocumentMaker(const DataFile& file, const Tokenizer& tokenizer, AddedByFormat added,
                             DataFindings& findings)
    : tokenizer_(tokenizer), findings_(findings) {
  const auto says = [](const std::string& key, bool otherwise) {
    return key == "auto" ? otherwise : key == "true";
  };
  adds_bos_ = says(file.source.add_bos, added.bos);
  adds_eos_ = says(file.source.add_eos, added.eos);
  if (adds_bos_ && !tokenizer.bos())
    throw UserError("{}: add_bos is true, but the tokenizer has no BOS token", file.source.path);
  if (adds_eos_ && !tokenizer.eos())
    throw UserError(
        "the tokenizer has no EOS token, and every document ends with it; name one as eos_token in "
        "tokenizer_config.json");
}

Document DocumentMaker::given(const std::vector<int32_t>& ids, const std::vector<bool>& targets) {
  Document document;
  const auto put = [&](int32_t id, bool target) {
    const auto at = static_cast<int32_t>(document.tokens.size());
    document.tokens.push_back(id);
    if (!target) return;
    if (!document.targets.empty() && document.targets.back().end == at)
      ++document.targets.back().end;
    else
      document.targets.push_back({at, at + 1});
  };
  document.tokens.reserve(ids.size() + 2);
  if (adds_bos_) {
    if (!ids.empty() && ids.front() == *tokenizer_.bos()) findings_.add(DataFindings::Kind::double_bos, "");
    put(*tokenizer_.bos(), false);  // nothing predicts the first token
  }
  for (size_t i = 0; i < ids.size(); ++i) put(ids[i], targets[i]);
  if (adds_eos_) {
    if (!ids.empty() && ids.back() == *tokenizer_.eos()) findings_.add(DataFindings::Kind::double_eos, "");
    put(*tokenizer_.eos(), true);
  }
  return document;
}

Document DocumentMaker::whole(std::string_view text) {
  const std::vector<int32_t> ids = tokenizer_.encode(text, false);
  return given(ids, std::vector<bool>(ids.size(), true));
}

Document DocumentMaker::completed(const std::string& prompt, const std::string& completion) {
  const std::string text = prompt + completion;
  const Encoding encoding = tokenizer_.encode_with_starts(text);
  std::vector<bool> targets;
  for (const size_t start : encoding.starts) targets.push_back(start >= prompt.size());
  const auto first = std::find(targets.begin(), targets.end(), true);
  const bool parts = prompt.empty() || completion.empty() ||
                     (first != targets.end() &&
                      encoding.starts[static_cast<size_t>(first - targets.begin())] == prompt.size());
  if (!parts)
    findings_.add(DataFindings::Kind::joined,
                  fmt::format("a prompt that ends with '{}', and a completion that begins with '{}'",
                              shortened(prompt.substr(whole_character(
                                  prompt, prompt.size() - std::min<size_t>(prompt.size(), 20)))),
                              shortened(completion.substr(0, 40), 20)));
  return given(encoding.ids, targets);
}

Document DocumentMaker::spanned(std::string_view text, const std::vector<std::pair<size_t, size_t>>& spans,
                                bool straddling) {
  const Encoding encoding = tokenizer_.encode_with_starts(text);
  const std::vector<size_t>& starts = encoding.starts;
  std::vector<bool> targets(starts.size());
  for (const auto& [begin, end] : spans) {
    // The first token that begins in the span or behind it. If none begins with the span, the token before it
    // reaches into it. Of several that share a start, only the last does: the others are parts of its first
    // character.
    auto first = std::lower_bound(starts.begin(), starts.end(), begin);
    if (straddling && first != starts.begin() && (first == starts.end() || *first != begin)) --first;
    for (; first != starts.end() && *first < end; ++first)
      targets[static_cast<size_t>(first - starts.begin())] = true;
  }
  return given(encoding.ids, targets);
}

}  // namespace collie
