//! Which sections an event will have: one for each class and subject that its sealed fields have, in the order in which
//! they are met.

use std::collections::HashMap;

use crate::error::LocateError;
use crate::format::MAX_SECTIONS;
use crate::subject::SubjectTag;

/// Entries of a list that are compared one by one before a table is built.
pub(crate) const FEW: usize = 16;

/// A section to be: the values of one class and one subject.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionPlan {
    class: u16,
    /// Index into the subjects; none: the product's own key.
    pub(crate) subject: Option<u16>,
    pub(crate) len: u32,
}

/// Sections and the people whose they are.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) sections: Vec<SectionPlan>,
    pub(crate) subjects: Vec<SubjectTag>,
    /// Some field should belong to a person and has none.
    pub(crate) unattributed: bool,
    sections_by_content: HashMap<(u16, Option<u16>), u16>,
    subjects_by_tag: HashMap<SubjectTag, u16>,
}

impl Plans {
    /// The section for a value of that many bytes, which is counted into it.
    pub(crate) fn section(&mut self, class: u16, subject: Option<u16>, len: u32) -> Result<u16, LocateError> {
        let sections = &mut self.sections;
        let same = |plan: &SectionPlan| plan.class == class && plan.subject == subject;
        let found = if sections.len() <= FEW {
            sections.iter().position(same).map(|index| index as u16)
        } else {
            self.sections_by_content.get(&(class, subject)).copied()
        };
        if let Some(index) = found
            && let Some(plan) = sections.get_mut(usize::from(index))
        {
            plan.len += len;
            return Ok(index);
        }
        if sections.len() >= MAX_SECTIONS {
            return Err(LocateError::TooManySubjects);
        }
        let index = sections.len() as u16;
        sections.push(SectionPlan { class, subject, len });
        if sections.len() == FEW + 1 {
            let all = sections.iter().zip(0..);
            self.sections_by_content.extend(all.map(|(plan, index)| ((plan.class, plan.subject), index)));
        } else if sections.len() > FEW {
            self.sections_by_content.insert((class, subject), index);
        }
        Ok(index)
    }

    /// A field that should belong to a person belongs to nobody.
    pub(crate) fn nobody(&mut self) -> Option<u16> {
        self.unattributed = true;
        None
    }

    /// The index of a person.
    pub(crate) fn subject(&mut self, tag: SubjectTag) -> Result<u16, LocateError> {
        let subjects = &mut self.subjects;
        let found = if subjects.len() <= FEW {
            subjects.iter().position(|known| *known == tag).map(|index| index as u16)
        } else {
            self.subjects_by_tag.get(&tag).copied()
        };
        if let Some(index) = found {
            return Ok(index);
        }
        if subjects.len() >= MAX_SECTIONS {
            return Err(LocateError::TooManySubjects);
        }
        let index = subjects.len() as u16;
        subjects.push(tag);
        if subjects.len() == FEW + 1 {
            self.subjects_by_tag.extend(subjects.iter().copied().zip(0..));
        } else if subjects.len() > FEW {
            self.subjects_by_tag.insert(tag, index);
        }
        Ok(index)
    }
}
