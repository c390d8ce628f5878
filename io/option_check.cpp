#include "io/option_check.hpp"

#include "base/error.hpp"
#include "io/config_schema.hpp"

namespace collie {

void check_given(const std::string& piece, const OptionDeclaration& declared, const OptionValues& given,
                 const std::string& section, const PlaceOfKey& place) {
  for (const auto& [name, value] : given.all()) {
    const Option* const option = find_option(declared.options, name);
    if (option == nullptr)
      throw UserError("{}: unknown key; the options of {} are {}", place(section + "." + name), piece,
                      names_of_options(declared.options));
    if (option->initial.index() != value.index())
      throw UserError("{}: its value has another type than the option of {}", place(section + "." + name),
                      piece);
    if (!option->instead_of.empty() && given.has(option->instead_of))
      throw UserError("{}: found beside {}; one of the two is wanted (null for the other is right)",
                      place(section + "." + name), option->instead_of);
  }
  OptionValues values = given;
  for (const config::Key& key : config::option_schema(declared.options, values, section))
    key.check(place(key.path));
}

void check_together(const OptionDeclaration& declared, const OptionValues& in_force,
                    const std::string& section, const PlaceOfKey& place) {
  if (!declared.complaint) return;
  const auto [name, wrong] = declared.complaint(in_force);
  if (!wrong.empty()) throw UserError("{}: {}", place(section + "." + name), wrong);
}

}  // namespace collie
