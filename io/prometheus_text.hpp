// The text that Prometheus reads, "text format 0.0.4":
// https://prometheus.io/docs/instrumenting/exposition_formats/
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace collie {

inline constexpr const char* prometheus_content_type = "text/plain; version=0.0.4; charset=utf-8";

class PrometheusText {
 public:
  enum class Type : uint8_t { gauge, counter };
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // Adds a value. Characters that a name may not have become '_'. Label values may be any text; what is not
  // UTF-8 is replaced. All samples of one name must have one type, and no two the same labels. `help` is for
  // people; the first one of a name counts.
  void add(const std::string& name, Type type, const std::string& help, const Labels& labels, double value);

  // The text of all that was added: a HELP and a TYPE line for each name, then its samples.
  std::string text() const;

 private:
  struct Family {
    Type type = Type::gauge;
    std::string help;
    std::vector<std::string> samples;  // lines
  };
  std::map<std::string, Family> families_;
};

// The name with '_' for every character that is not allowed, and in front of a digit.
std::string prometheus_name(std::string_view name);

}  // namespace collie
