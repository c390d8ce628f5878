#include "io/json_text.hpp"

#include <optional>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie {

namespace {

using nlohmann::json;

// Counts the lines that the parser has read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, int64_t* line) : at_(at), line_(line) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    if (*at_++ == '\n') ++*line_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  int64_t* line_;
};

// Builds the value from the parser's events, and refuses it before anything nests too deep. nlohmann's own
// functions recurse as deep as the value.
template <class Json>
class Builder : public nlohmann::json_sax<Json> {
 public:
  using number_integer_t = typename Json::number_integer_t;
  using number_unsigned_t = typename Json::number_unsigned_t;
  using number_float_t = typename Json::number_float_t;
  using string_t = typename Json::string_t;
  using binary_t = typename Json::binary_t;

  Builder(std::string_view text, std::string where, std::map<std::string, int>* lines)
      : text_(text), where_(std::move(where)), lines_(lines) {}

  Json build() {
    // The lexer takes a NUL for the end of the text.
    if (const size_t nul = text_.find('\0'); nul != std::string_view::npos) {
      line_ = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(nul), '\n');
      refuse("it is not JSON: a NUL byte");
    }
    const CountingIterator begin(text_.data(), &line_), end(text_.data() + text_.size(), &line_);
    Json::sax_parse(begin, end, this);
    return std::move(root_);
  }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t& digits) override {
    if constexpr (std::is_same_v<Json, nlohmann::ordered_json>)
      if (digits.find_first_of(".eE") == std::string::npos)
        return put(Json::binary({digits.begin(), digits.end()}));
    return put(value);
  }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // occurs in binary formats only

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& key) override {
    auto& object = open_.back()->template get_ref<typename Json::object_t&>();
    if (!add_member(object, key))
      refuse(fmt::format("key '{}' is there twice in one object; it must be there once", shortened(key)));
    if (lines_ != nullptr && open_.size() == 1) lines_->emplace(key, static_cast<int>(line_));
    return true;
  }

  bool parse_error(std::size_t position, const std::string& last_token,
                   const nlohmann::json::exception& error) override {
    // The error says "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while
    // parsing value - unexpected end of input; expected ..."; its quotation may be as long as the text.
    std::string reason = error.what();
    if (const size_t quote = reason.find("; last read: '"); quote != std::string::npos)
      reason.replace(quote, last_token.size() + 15, fmt::format("; last read: '{}'", shortened(last_token)));
    for (const char* before : {" - ", ": ", "] "}) {
      const size_t at = reason.find(before);
      if (at == std::string::npos) continue;
      reason.erase(0, at + std::string_view(before).size());
      break;
    }
    refuse(fmt::format("it is not JSON (byte {}): {}", position, shortened(reason, 200)));
    return false;  // never reached
  }

 private:
  [[noreturn]] void refuse(const std::string& complaint) const {
    const bool one_line = text_.find('\n') == std::string_view::npos;
    throw UserError("{}{}: {}", where_, one_line ? "" : fmt::format(":{}", line_), complaint);
  }

  // Adds a key without a value, which becomes the current member. False if the object has the key.
  bool add_member(typename Json::object_t& object, const std::string& key) {
    if constexpr (std::is_same_v<Json, nlohmann::ordered_json>) {
      // Its own search for a key takes as long as the object.
      if (!keys_.back().insert(key).second) return false;
      member_ = &object.emplace_back(key, nullptr).second;
      return true;
    } else {
      const auto [entry, is_new] = object.emplace(key, nullptr);
      member_ = &entry->second;
      return is_new;
    }
  }

  bool put(Json value) {
    place() = std::move(value);
    return true;
  }

  // The place of the next value.
  Json& place() {
    if (open_.empty()) return root_;
    if (open_.back()->is_object()) return *member_;
    return open_.back()->emplace_back(nullptr);
  }

  bool open(Json empty) {
    if (open_.size() == deepest_json)
      refuse(fmt::format("more than {} lists and objects are one inside the other", deepest_json));
    Json& at = place();
    at = std::move(empty);
    open_.push_back(&at);
    keys_.emplace_back();
    return true;
  }

  bool close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  std::string_view text_;
  std::string where_;
  std::map<std::string, int>* lines_;
  int64_t line_ = 1;
  Json root_;
  std::vector<Json*> open_;  // the values being read, the outermost first
  std::vector<std::unordered_set<std::string>>
      keys_;                // of the open objects, where their keys keep their order
  Json* member_ = nullptr;  // of the innermost value, if that is an object
};

constexpr size_t longest_quote = 80;

// Stops when `text` is long enough, whatever the value's size.
void append_in_short(const json& value, std::string& text) {
  if (text.size() > longest_quote) return;
  if (value.is_string()) {
    const std::string& whole = value.get_ref<const std::string&>();
    text += json(whole.substr(0, longest_quote)).dump(-1, ' ', false, json::error_handler_t::ignore);
    return;
  }
  if (!value.is_structured()) {
    text += value.dump();
    return;
  }
  text += value.is_object() ? '{' : '[';
  bool first = true;
  for (const auto& [key, item] : value.items()) {
    if (text.size() > longest_quote) return;
    if (!std::exchange(first, false)) text += ", ";
    if (value.is_object()) text += fmt::format("\"{}\": ", shortened(key));
    append_in_short(item, text);
  }
  text += value.is_object() ? '}' : ']';
}

}  // namespace

json parse_json(std::string_view text, const std::string& where) {
  return Builder<json>(text, where, nullptr).build();
}

nlohmann::ordered_json parse_ordered_json(std::string_view text, const std::string& where) {
  return Builder<nlohmann::ordered_json>(text, where, nullptr).build();
}

json parse_json_object(std::string_view text, const std::string& where, std::map<std::string, int>* lines) {
  json value = Builder<json>(text, where, lines).build();
  if (!value.is_object()) throw UserError("{}: it must be a JSON object, not {}", where, in_short(value));
  return value;
}

std::string in_short(const json& value) {
  std::string text;
  append_in_short(value, text);
  return shortened(text, longest_quote);
}

}  // namespace collie
