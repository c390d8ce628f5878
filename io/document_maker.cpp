#include "io/document_maker.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"

namespace collie {

namespace {

// The beginning of the first character at `position` or behind it.
size_t whole_character(std::string_view text, size_t position) {
  while (position < text.size() && (static_cast<unsigned char>(text[position]) & 0xC0u) == 0x80u) ++position;
  return position;
}

}  // namespace

DocumentMaker::DocumentMaker(const DataFile& file, const Tokenizer& tokenizer, AddedByFormat added)
    : file_(file), tokenizer_(tokenizer) {
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

// Once a file and token.
void DocumentMaker::warn_of_double(const char* token, const char* where, const char* key) {
  if (!warned_.insert(key).second) return;
  log::warn(
      "{}: a text {} with the {} token, and one more is added; set {}: false for this source if that is not "
      "meant",
      file_.path, where, token, key);
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
    if (!ids.empty() && ids.front() == *tokenizer_.bos()) warn_of_double("BOS", "begins", "add_bos");
    put(*tokenizer_.bos(), false);  // nothing predicts the first token
  }
  for (size_t i = 0; i < ids.size(); ++i) put(ids[i], targets[i]);
  if (adds_eos_) {
    if (!ids.empty() && ids.back() == *tokenizer_.eos()) warn_of_double("EOS", "ends", "add_eos");
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
  if (!parts && warned_.insert("joined").second)
    log::warn(
        "{}: a token joins the end of a prompt and the beginning of its completion, so that it is no target "
        "(the first "
        "prompt ends with '{}', its completion begins with '{}')",
        file_.path,
        shortened(
            prompt.substr(whole_character(prompt, prompt.size() - std::min<size_t>(prompt.size(), 20)))),
        shortened(completion.substr(0, 40), 20));
  return given(encoding.ids, targets);
}

Document DocumentMaker::spanned(std::string_view text, const std::vector<std::pair<size_t, size_t>>& spans) {
  const Encoding encoding = tokenizer_.encode_with_starts(text);
  std::vector<bool> targets;
  for (const size_t start : encoding.starts)
    targets.push_back(std::any_of(spans.begin(), spans.end(), [&](const auto& span) {
      return start >= span.first && start < span.second;
    }));
  return given(encoding.ids, targets);
}

}  // namespace collie
