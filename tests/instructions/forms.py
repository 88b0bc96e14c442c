# SPDX-License-Identifier: MIT
"""Forms of instructions: those that docs/ptx-forms.md lists, and those in texts of PTX."""
import fnmatch
import re

ROW = re.compile(r'\| `([^`]*)` \| (?:`([^`]*)` )?\| (yes|no: [^|]*) \|')
# Registers are plain vectors in operands: only names of special ones have words to choose from.
WORDS = re.compile(r'(?<=%)\{([^{}]*)\}|(?<=\.)\{([^{}]*)\}')
SPECIAL = re.compile(r'%[a-z][a-z_0-9]*(?:\.[xyz])?$')


def expand(form, operands):
    """Each choice of the words in {a,b}, as (form, operands)."""
    match = re.search(r'\{([^{}]*)\}', form)
    if match:
        for word in match.group(1).split(','):
            yield from expand(form[:match.start()] + word + form[match.end():], operands)
        return
    match = WORDS.search(operands)
    if match:
        for word in (match.group(1) or match.group(2)).split(','):
            yield from expand(form, operands[:match.start()] + word + operands[match.end():])
        return
    yield form, operands


def name(form, operands):
    """What a form is called: with the operands where they make it one, which are brackets around
    several registers of a mov and special registers."""
    first, _, last = operands.partition(', ')
    if form.startswith('mov.') and '{' in operands:
        return form + (' {}' if '{' in first else ', {}') + str(operands.count(','))
    if form.startswith('mov.') and SPECIAL.match(last) and not re.match(r'%[a-z]\d', last):
        return f'{form} {last}'
    return form


def of_manual(path):
    """(form, operands, "yes" or "no: " and why) of every form in the tables."""
    for row in path.read_text().splitlines():
        match = ROW.match(row)
        if match:
            for form, operands in expand(match[1], (match[2] or '').replace('\\', '')):
                yield form, operands, match[3]


STATEMENT = re.compile(r'(?:@!?[\w$%]+\s+)?([a-z][\w:]*(?:\.[\w:]+)*)\s*([^;]*);')


def of_text(text):
    """Names of the forms in a text of PTX."""
    text = re.sub(r'//[^\n]*|/\*.*?\*/', '', text, flags=re.S)
    text = re.sub(r'[\w$%]+:(?!:)', ' ', text)
    for form, operands in STATEMENT.findall(text):
        yield name(form, ' '.join(operands.split()))


def reviewed(path):
    """Patterns of names, each with a reason: "PATTERN  # reason", one a line."""
    for line in path.read_text().splitlines():
        form, _, reason = line.partition('  # ')
        if line and not line.startswith('#'):
            if not reason:
                raise ValueError(f'{path}: no reason: {line}')
            yield form


def check_all_exercised(manual, list_of_reasons, text):
    """Prints what the manual says to run, and is neither in the text nor listed; true if nothing."""
    seen = set(of_text(text))
    known = {name(form, operands) for form, operands, runs in of_manual(manual) if runs == 'yes'}
    excused = list(reviewed(list_of_reasons))
    missing = sorted(known - seen)
    bad = [form for form in missing if not matches(form, excused)]
    for form in bad:
        print(f'not exercised, and not in {list_of_reasons.name}: {form}')
    unused = [pattern for pattern in excused if not fnmatch.filter(missing, pattern)]
    for pattern in unused:
        print(f'in {list_of_reasons.name}, and exercised or no form: {pattern}')
    print(f'{len(known)} names of forms, {len(missing)} not exercised')
    return len(known) > 1000 and not bad and not unused


def matches(form, patterns):
    return any(fnmatch.fnmatchcase(form, pattern) for pattern in patterns)


def check_differences(expected, list_of_reasons):
    """Where a device does not compute what our reference does, though it is exact, is a reason.
    Returns whether there is one everywhere, and prints where not."""
    excused, used, bad = list(reviewed(list_of_reasons)), set(), 0
    for line in expected.read_text().splitlines():
        parts = line.split(' ', 4)
        if line.startswith('#') or parts[0] == 'absent' or parts[2] == '0':
            continue
        reasons = [pattern for pattern in excused if fnmatch.fnmatchcase(parts[4], pattern)]
        used.update(reasons)
        if not reasons:
            bad += 1
            print(f'{parts[2]} results differ, and there is no reason: {parts[4]}')
    for pattern in set(excused) - used:
        print(f'in {list_of_reasons.name}, and nothing differs: {pattern}')
    return bad == 0 and used == set(excused)
