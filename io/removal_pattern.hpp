// A user's regular expression (PCRE2 with Unicode's meaning of \w, \d, \s and \b), whose matches are left out
// of texts.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace collie {

class RemovalPattern {
 public:
  // What is wrong with `pattern`: "found '(', which is no regular expression: ... at byte 1"; empty if
  // nothing is.
  static std::string complaint(const std::string& pattern);

  // `pattern` must have no complaint. An empty one matches nothing.
  explicit RemovalPattern(const std::string& pattern);
  ~RemovalPattern();

  // `text` (valid UTF-8) without what matches. Throws RunError if a match takes more than a million steps.
  std::string remove_from(std::string_view text) const;

 private:
  struct Code;
  std::string pattern_;
  std::unique_ptr<const Code> code_;
};

}  // namespace collie
