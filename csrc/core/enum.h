// Enumerations and their names from one list, as WEFT_COLOURS(F) F(red) F(green): neither can lack what the other has.
#pragma once

#define WEFT_ENUM_MEMBER(name, ...) name,
#define WEFT_ENUM_NAME(name, ...) #name,
