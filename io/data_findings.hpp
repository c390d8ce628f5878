// What was found in a data file while it was tokenised and deserves a word: kept with its tokens, so that it
// is said again when they come from the cache.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace collie {

class DataFindings {
 public:
  enum class Kind : uint8_t { bad_line, double_bos, double_eos, joined, without_turn, beside_prompt };

  // Counts one more. `detail` of the first one is kept: where it was, or what.
  void add(Kind kind, const std::string& detail);
  // Adds those of a later part of the file.
  void append(const DataFindings& later);
  int64_t count(Kind kind) const;

  // As text, and back. The file's own path is not part of it, because the same contents may lie elsewhere.
  // from_text() throws UserError or nlohmann::json::exception.
  std::string to_text(const std::string& path) const;
  static DataFindings from_text(const std::string& text, const std::string& path);

  // Warns of them. `path`: the data file.
  void say(const std::string& path) const;

 private:
  struct Found {
    int64_t count = 0;
    std::string first;
  };
  std::map<Kind, Found> found_;
};

}  // namespace collie
