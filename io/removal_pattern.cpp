#include "io/removal_pattern.hpp"

#include "base/error.hpp"
#include "base/quote.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace collie {
namespace {

constexpr uint32_t most_matching_steps = 1'000'000;

template <class T, void (*free_it)(T*)>
struct FreeOfPcre {
  void operator()(T* object) const { free_it(object); }
};

using RemovalCode = std::unique_ptr<pcre2_code, FreeOfPcre<pcre2_code, pcre2_code_free>>;
using RemovalContext =
    std::unique_ptr<pcre2_match_context, FreeOfPcre<pcre2_match_context, pcre2_match_context_free>>;

std::string words_of_pcre(int error) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(error, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

PCRE2_SPTR units_of(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

// Null if it is not valid; then `wrong` says why.
RemovalCode compiled(const std::string& pattern, std::string& wrong) {
  int error = 0;
  PCRE2_SIZE at = 0;
  RemovalCode code(pcre2_compile(units_of(pattern), pattern.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &at, nullptr));
  if (!code)
    wrong = fmt::format("found '{}', which is no regular expression of PCRE2: {} at byte {}",
                        shortened(pattern), words_of_pcre(error), at);
  return code;
}

}  // namespace

struct RemovalPattern::Code {
  RemovalCode code;
};

std::string RemovalPattern::complaint(const std::string& pattern) {
  std::string wrong;
  compiled(pattern, wrong);
  return wrong;
}

RemovalPattern::RemovalPattern(const std::string& pattern) : pattern_(pattern) {
  std::string wrong;
  code_ = std::make_unique<const Code>(Code{compiled(pattern, wrong)});
  COLLIE_ASSERT(wrong.empty(), "{}", wrong);
}

RemovalPattern::~RemovalPattern() = default;

std::string RemovalPattern::remove_from(std::string_view text) const {
  if (pattern_.empty()) return std::string(text);
  const RemovalContext context(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(context.get(), most_matching_steps);
  std::string rest(text.size() + 1, '\0');  // with the zero at its end
  PCRE2_SIZE size = rest.size();
  const int done =
      pcre2_substitute(code_->code.get(), units_of(text), text.size(), 0, PCRE2_SUBSTITUTE_GLOBAL, nullptr,
                       context.get(), units_of(""), 0, reinterpret_cast<PCRE2_UCHAR*>(rest.data()), &size);
  if (done < 0)
    throw RunError("the regular expression '{}' fails on a text of {} bytes: {}", shortened(pattern_),
                   text.size(), words_of_pcre(done));
  rest.resize(size);
  return rest;
}

}  // namespace collie
