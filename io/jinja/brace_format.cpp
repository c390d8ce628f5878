// FORMAT.format(...), as Python has it.
#include <algorithm>

#include "base/quote.hpp"
#include "io/jinja/access.hpp"
#include "io/jinja/format.hpp"
#include "io/jinja/format_spec.hpp"
#include "io/jinja/limits.hpp"
#include "io/jinja/number.hpp"
#include "io/jinja/print.hpp"
#include "io/jinja/problem.hpp"
#include "io/jinja/runtime.hpp"

namespace collie::jinja {

namespace {

bool is_index(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const std::string& format, const Arguments& arguments)
      : runtime_(runtime), format_(format), arguments_(arguments) {}

  std::string run() {
    std::string result;
    for (size_t at = 0; at < format_.size();) {
      const char c = format_[at];
      const bool doubled = at + 1 < format_.size() && format_[at + 1] == c;
      if (c != '{' && c != '}') {
        result += c;
        ++at;
      } else if (doubled) {
        result += c;
        at += 2;
      } else if (c == '}') {
        throw Problem("the format '{}' has a single '}}'; write '}}}}' for the character",
                      shortened(format_));
      } else {
        const size_t end = format_.find('}', at);
        if (end == std::string::npos)
          throw Problem("the format '{}' ends inside a field", shortened(format_));
        result += field(std::string_view(format_).substr(at + 1, end - at - 1));
        at = end + 1;
      }
      if (result.size() > longest_text) throw Problem("a string of more than {} bytes is made", longest_text);
    }
    return result;
  }

 private:
  std::string field(std::string_view text) {
    if (text.find('{') != std::string_view::npos)
      throw Problem("a field of the format '{}' holds a field, which is not supported", shortened(format_));
    const size_t colon = std::min(text.find(':'), text.size());
    std::string_view name = text.substr(0, colon);
    const std::string_view spec = text.substr(std::min(colon + 1, text.size()));
    char conversion = 0;
    if (const size_t mark = name.find('!'); mark != std::string_view::npos) {
      if (name.size() != mark + 2 || (name[mark + 1] != 's' && name[mark + 1] != 'r'))
        throw Problem("a field of the format '{}' has a conversion other than !s and !r", shortened(format_));
      conversion = name[mark + 1];
      name = name.substr(0, mark);
    }
    Value value = lookup(name);
    if (conversion == 's') value = text_of(runtime_, value);
    if (conversion == 'r') value = represented(runtime_, value);
    return formatted(runtime_, value, parse_format_spec(spec));
  }

  Value lookup(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = argument(name.substr(0, end));
    for (name.remove_prefix(end); !name.empty();) {
      const bool item = name[0] == '[';
      const size_t stop = item ? name.find(']') : std::min(name.find_first_of(".[", 1), name.size());
      if (stop == std::string_view::npos)
        throw Problem("a field of the format '{}' lacks its ']'", shortened(format_));
      const std::string part(name.substr(1, stop - 1));
      if (item)
        value =
            get_item(runtime_, value, is_index(part) ? Value(*parse_python_integer(part, 10)) : Value(part));
      else
        value = get_attribute(runtime_, value, part);
      defined(value);
      name.remove_prefix(item ? stop + 1 : stop);
    }
    return value;
  }

  Value argument(std::string_view name) {
    if (name.empty() || is_index(name)) {
      (name.empty() ? counted_ : numbered_) = true;
      if (counted_ && numbered_)
        throw Problem("the format '{}' has fields with and without numbers; write all of one kind",
                      shortened(format_));
      const auto index = name.empty() ? static_cast<int64_t>(next_++) : *parse_python_integer(name, 10);
      if (index >= static_cast<int64_t>(arguments_.positional.size()))
        throw Problem("the format '{}' has no argument {}", shortened(format_), index);
      return arguments_.positional[static_cast<size_t>(index)];
    }
    for (const auto& [its_name, value] : arguments_.named)
      if (its_name == name) return value;
    throw Problem("the format '{}' has no argument '{}'", shortened(format_), name);
  }

  Runtime& runtime_;
  const std::string& format_;
  const Arguments& arguments_;
  size_t next_ = 0;
  bool counted_ = false, numbered_ = false;  // fields {} and {0}
};

}  // namespace

std::string brace_format(Runtime& runtime, const std::string& format, const Arguments& arguments) {
  runtime.charge_bytes(format.size());
  return BraceFormatter(runtime, format, arguments).run();
}

}  // namespace collie::jinja
