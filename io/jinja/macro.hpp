// A macro, or the "caller" of a call block, as a value.
#pragma once

#include <memory>
#include <string>

#include "io/jinja/renderer.hpp"

namespace collie::jinja {

class Macro : public Object {
 public:
  Macro(Renderer& renderer, std::shared_ptr<MacroDefinition> definition, std::shared_ptr<Scope> scope)
      : renderer_(renderer), definition_(std::move(definition)), scope_(std::move(scope)) {}

  std::string_view type_name() const override { return "Macro"; }
  std::optional<Value> attribute(std::string_view name) override;
  bool is_callable() const override { return true; }
  Value call(Runtime& runtime, const Arguments& arguments) override;

 private:
  void set_parameters(const Arguments& arguments);
  void set_special(const Arguments& arguments, std::vector<bool>& used);

  Renderer& renderer_;
  std::shared_ptr<MacroDefinition> definition_;
  std::shared_ptr<Scope> scope_;  // around the definition
};

}  // namespace collie::jinja
